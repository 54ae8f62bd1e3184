"""What the three processes tell of their work: a line per event on stderr, for the journal or a file."""

from __future__ import annotations

import logging


def log_to_stderr() -> None:
    """Write what Spud does, and the warnings of its libraries, with time and module."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("appliance").setLevel(logging.INFO)
