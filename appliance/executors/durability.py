"""What a job has written, made to outlive a power cut."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)


def flush(folder: Path) -> None:
    """Write to disk what is still in memory of the file system that holds the folder: syncfs(2).

    A job's files are its owner's and may be many, so they are not flushed one by one. Raises OSError.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if _libc.syncfs(descriptor):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(folder))
    finally:
        os.close(descriptor)
