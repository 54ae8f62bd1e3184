"""The hash of files and folders on the controller, by name and content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

DOCUMENTATION = """
name: content_hash
author: Spud
short_description: Hash files and folders by name and content
description:
  - Tells whether sources changed since something was made of them, without making it again.
options:
  _terms:
    description: Files and folders; compiled Python files in them do not count.
    required: true
"""


class LookupModule(LookupBase):
    """Answers with one hash over all given paths."""

    def run(
        self,
        terms: list[str],
        variables: dict[str, Any] | None = None,  # noqa: ARG002  Ansible's signature
        **kwargs: Any,  # noqa: ARG002
    ) -> list[str]:
        """Return the hash as a list of one string; raises AnsibleError for a path that is not there."""
        digest = hashlib.sha256()
        for top in (Path(term) for term in terms):
            for path in _files(top):
                content = hashlib.sha256(path.read_bytes()).hexdigest()
                digest.update(f"{path.relative_to(top.parent)}\0{content}\n".encode())
        return [digest.hexdigest()]


def _files(top: Path) -> Iterator[Path]:
    if not top.exists():
        raise AnsibleError(f"{top} is not there, so it cannot be installed. Is this a complete checkout?")
    if top.is_file():
        yield top
        return
    found = (path for path in top.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    yield from sorted(found)
