"""The examples at the end of every command's --help."""

from __future__ import annotations


def examples(*lines: str) -> str:
    """Return an epilog that click prints line by line."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])
