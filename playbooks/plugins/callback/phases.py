# ruff: noqa: ARG002, FBT001, FBT002, SLF001  (the signatures and the reach into tasks are Ansible's)
"""What a person wants to see of a playbook: each phase, what changed, how long it took, why it failed."""

from __future__ import annotations

import time
from typing import Any

from ansible import constants
from ansible.executor.stats import AggregateStats
from ansible.executor.task_result import CallbackTaskResult
from ansible.playbook import Playbook
from ansible.playbook.play import Play
from ansible.playbook.task import Task
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: phases
type: stdout
short_description: One line for each task, with times
description:
  - Shows each task as it starts, what it changed and how long that took, and a failure in one sentence.
extends_documentation_fragment:
  - default_callback
"""


class CallbackModule(CallbackBase):
    """Writes a line for each task and a sentence at the end."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "phases"

    def __init__(self) -> None:
        super().__init__()
        self._began = self._task_began = time.monotonic()

    def v2_playbook_on_start(self, playbook: Playbook) -> None:
        """Start the clock."""
        self._began = time.monotonic()

    def v2_playbook_on_play_start(self, play: Play) -> None:
        """Name the play."""
        self._display.banner(play.get_name())

    def v2_playbook_on_task_start(self, task: Task, is_conditional: bool) -> None:
        """Show the task before it runs, for it may take long."""
        self._announce(task)

    def v2_playbook_on_handler_task_start(self, task: Task) -> None:
        """Show a handler like a task."""
        self._announce(task)

    def v2_runner_on_ok(self, result: CallbackTaskResult) -> None:
        """Show what changed; what was right already needs no line."""
        took = time.monotonic() - self._task_began
        if result.result.get("changed", False):
            self._display.display(f"          changed ({took:.1f} s)", color=constants.COLOR_CHANGED)
        elif result.task.action in constants._ACTION_DEBUG:
            self._display.display(f"          {result.result.get('msg', '')}", color=constants.COLOR_OK)

    def v2_runner_on_failed(self, result: CallbackTaskResult, ignore_errors: bool = False) -> None:
        """Say in one sentence what failed and why."""
        if not ignore_errors and not result.result.get("results"):
            self._fail(result.task.get_name(), result)

    def v2_runner_item_on_failed(self, result: CallbackTaskResult) -> None:
        """Say which item failed and why."""
        self.v2_runner_on_failed(result)

    def v2_runner_on_unreachable(self, result: CallbackTaskResult) -> None:
        """Say that the machine did not answer."""
        self._fail(result.host.get_name(), result)

    def v2_playbook_on_stats(self, stats: AggregateStats) -> None:
        """Sum up in one line."""
        took = time.monotonic() - self._began
        for host in sorted(stats.processed):
            summary = stats.summarize(host)
            failed = summary["failures"] + summary["unreachable"]
            self._display.display(
                f"\n{host}: ok={summary['ok']} changed={summary['changed']} failed={failed}, in {took:.1f} s",
                color=constants.COLOR_ERROR if failed else constants.COLOR_OK,
            )

    def _fail(self, name: str, result: CallbackTaskResult) -> None:
        self._display.display(f"FAILED  {name}: {_reason(result.result)}", color=constants.COLOR_ERROR)

    def _announce(self, task: Task) -> None:
        self._task_began = time.monotonic()
        role = task._role.get_name() if task._role else ""
        name = task.get_name().removeprefix(f"{role} : ")
        if name.startswith("Validating arguments"):
            return
        phase = f"{role}: " if role else ""
        self._display.display(f"[{time.monotonic() - self._began:4.0f} s]  {phase}{name}")


def _reason(result: dict[str, Any]) -> str:
    said = [line for line in str(result.get("stderr") or "").splitlines() if line.strip()]
    message = str(result.get("msg") or "").strip().split("\n")[0]
    return said[-1].strip() if said else message or "it gave no reason"
