"""Run a long command on the target and show what it says while it runs.

    - name: Build the image
      progress_command:
        argv: [spud, image, build, tensorflow, --json]

What the command writes to standard error is shown line by line. Its standard output must be a JSON
object; its `changed` decides whether the task changed something, and the whole object is registered as
`answer`. A failed command's last note is the task's message.
"""

from __future__ import annotations

import json
import shlex
import time
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

FIRST_POLL_S = 0.1
POLL_S = 1.0
# A build may be silent for minutes while pip unpacks; then a sign of life helps.
SILENCE_S = 20.0
LIMIT_S = 2 * 60 * 60


class ActionModule(ActionBase):
    """Starts `logged_command` in the background and reads its log along."""

    _requires_connection = True
    _VALID_ARGS = frozenset(("argv",))

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the command to its end and return its exit code, answer and whether it changed something."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        argv = [str(part) for part in self._task.args["argv"]]
        folder = self._make_tmp_path()
        try:
            result |= self._judge(self._follow(argv, f"{folder}/progress.log", task_vars))
        finally:
            self._remove_tmp_path(folder, force=True)
        return result

    def _follow(self, argv: list[str], log: str, task_vars: dict[str, Any] | None) -> dict[str, Any]:
        began = spoke = time.monotonic()
        job = self._start(argv, log, task_vars)
        if "ansible_job_id" not in job:
            return job
        shown, delay = 0, FIRST_POLL_S
        while True:
            # The end is asked for first: what was said until then is complete.
            state = json.loads(self._read(job["results_file"]) or "{}")
            text = self._read(log)
            whole = text.rfind("\n") + 1
            for line in text[shown:whole].splitlines():
                self._show(line)
                spoke = time.monotonic()
            shown = whole
            if "rc" in state or state.get("failed"):
                self._low_level_execute_command(f"rm -f {shlex.quote(job['results_file'])}", sudoable=True)
                return state | {"notes": text}
            if time.monotonic() - spoke > SILENCE_S:
                self._show(f"still at it after {time.monotonic() - began:.0f} s")
                spoke = time.monotonic()
            time.sleep(delay)
            delay = min(POLL_S, delay * 1.5)

    def _start(self, argv: list[str], log: str, task_vars: dict[str, Any] | None) -> dict[str, Any]:
        self._task.async_val, before = LIMIT_S, self._task.async_val
        try:
            arguments = {"argv": argv, "log": log}
            started: dict[str, Any] = self._execute_module(
                module_name="logged_command", module_args=arguments, task_vars=task_vars, wrap_async=True
            )
        finally:
            self._task.async_val = before
        return started

    def _read(self, path: str) -> str:
        answer = self._low_level_execute_command(f"cat {shlex.quote(path)}", sudoable=True)
        return str(answer["stdout"]).replace("\r\n", "\n") if answer["rc"] == 0 else ""

    def _show(self, line: str) -> None:
        if line.strip():
            Display().display(f"      {line}")

    def _judge(self, ended: dict[str, Any]) -> dict[str, Any]:
        if ended.get("failed"):
            return {"failed": True, "msg": ended.get("msg", "The command could not be started.")}
        notes = [line for line in str(ended["notes"]).splitlines() if line.strip()]
        if ended["rc"]:
            last = notes[-1].strip() if notes else f"The command ended with exit code {ended['rc']}."
            return {"failed": True, "rc": ended["rc"], "msg": last}
        answer = json.loads(ended["stdout"])
        return {"rc": 0, "answer": answer, "changed": bool(answer["changed"])}
