#!/usr/bin/python3
"""Run a command whose notes go to a log file, so that someone else can read along."""

from __future__ import annotations

import subprocess
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: logged_command
short_description: Run a command with its standard error in a file
description:
  - Used by the action plugin progress_command, which shows that file while the command runs.
author: Spud
options:
  argv:
    description: The command and its arguments.
    type: list
    elements: str
    required: true
  log:
    description: File that receives the standard error.
    type: path
    required: true
"""


def main() -> None:
    """Run the command and answer with its exit code and standard output."""
    module = AnsibleModule(
        {
            "argv": {"type": "list", "elements": "str", "required": True},
            "log": {"type": "path", "required": True},
        }
    )
    with Path(module.params["log"]).open("wb") as log:
        try:
            done = subprocess.run(module.params["argv"], stdout=subprocess.PIPE, stderr=log, check=False)
        except OSError as error:
            module.fail_json(msg=f"{module.params['argv'][0]} cannot be run: {error.strerror}")
    module.exit_json(rc=done.returncode, stdout=done.stdout.decode(errors="replace"), changed=True)


if __name__ == "__main__":
    main()
