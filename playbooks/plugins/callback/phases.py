# ruff: noqa: ARG002, FBT001, FBT002, SLF001  (the signatures and the reach into tasks are Ansible's)
"""What a person wants to see of a playbook: each phase, what changed, how long it took, why it failed."""

from __future__ import annotations

import threading
import time
from typing import Any

from ansible import constants
from ansible.executor.stats import AggregateStats
from ansible.executor.task_result import CallbackTaskResult
from ansible.playbook.play import Play
from ansible.playbook.task import Task
from ansible.plugins.callback import CallbackBase

# A task that takes longer is named while it runs.
LONG_S = 1.0

DOCUMENTATION = """
name: phases
type: stdout
short_description: One line for each phase, each change and each long task, with times
description:
  - Shows the phases, what they change, how long that takes, and a failure in one sentence.
extends_documentation_fragment:
  - default_callback
"""


class CallbackModule(CallbackBase):
    """Writes a line for each phase, for what changes and for what takes long."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "phases"

    def __init__(self) -> None:
        super().__init__()
        self._began = self._task_began = time.monotonic()
        self._phase = ""
        self._unsaid = ""
        self._timer = threading.Timer(0, self._say)
        self._lock = threading.Lock()

    def v2_playbook_on_play_start(self, play: Play) -> None:
        """Name the play."""
        self._display.display(play.get_name())

    def v2_playbook_on_task_start(self, task: Task, is_conditional: bool) -> None:
        """Name the task when it turns out to take a while."""
        self._start(task)

    def v2_playbook_on_handler_task_start(self, task: Task) -> None:
        """Treat a handler like a task."""
        self._start(task)

    def v2_runner_on_ok(self, result: CallbackTaskResult) -> None:
        """Show what changed; what was right already needs no line."""
        self._timer.cancel()
        took = time.monotonic() - self._task_began
        if result.result.get("changed", False):
            self._say()
            self._display.display(f"            changed ({took:.1f} s)", color=constants.COLOR_CHANGED)

    def v2_runner_on_skipped(self, result: CallbackTaskResult) -> None:
        """Say nothing of what does not apply here."""
        self._timer.cancel()

    def v2_runner_on_failed(self, result: CallbackTaskResult, ignore_errors: bool = False) -> None:
        """Say in one sentence what failed and why."""
        self._timer.cancel()
        if not ignore_errors and "results" not in result.result:
            self._fail(result.task.get_name(), result)

    def v2_runner_item_on_failed(self, result: CallbackTaskResult) -> None:
        """Say which item failed and why."""
        self._fail(result.task.get_name(), result)

    def v2_runner_on_unreachable(self, result: CallbackTaskResult) -> None:
        """Say that the machine did not answer."""
        self._timer.cancel()
        self._fail(result.host.get_name(), result)

    def v2_playbook_on_stats(self, stats: AggregateStats) -> None:
        """Sum up in one line."""
        self._timer.cancel()
        took = time.monotonic() - self._began
        for host in sorted(stats.processed):
            summary = stats.summarize(host)
            failed = summary["failures"] + summary["unreachable"]
            counts = f"ok={summary['ok']} changed={summary['changed']} failed={failed}"
            colour = constants.COLOR_ERROR if failed else constants.COLOR_OK
            self._display.display(f"{host}: {counts}, in {took:.1f} s", color=colour)

    def _start(self, task: Task) -> None:
        self._timer.cancel()
        self._task_began = time.monotonic()
        role = task._role.get_name() if task._role else ""
        if role and role != self._phase:
            self._phase = role
            self._display.display(f"[{time.monotonic() - self._began:4.0f} s]  {role}")
        self._unsaid = task.get_name().removeprefix(f"{role} : ")
        self._timer = threading.Timer(LONG_S, self._say)
        self._timer.daemon = True
        self._timer.start()

    def _say(self) -> None:
        """Name the task, once."""
        with self._lock:
            name, self._unsaid = self._unsaid, ""
        if name:
            at = self._task_began - self._began
            self._display.display(f"[{at:4.0f} s]    {name}")

    def _fail(self, name: str, result: CallbackTaskResult) -> None:
        self._display.display(f"FAILED  {name}: {_reason(result.result)}", color=constants.COLOR_ERROR)


def _reason(result: dict[str, Any]) -> str:
    said = [line.strip() for line in str(result.get("stderr") or "").splitlines() if line.strip()]
    # The first line marked as an error names the cause, those after it are its consequences.
    marked = [line for line in said if line.startswith(("E: ", "ERROR: ", "Error: ", "error: ", "fatal: "))]
    message = str(result.get("msg") or "").strip().split("\n")[0]
    reasons = marked[:1] or said[-1:] or [message or "it gave no reason"]
    return reasons[0].removeprefix("Error: ")
