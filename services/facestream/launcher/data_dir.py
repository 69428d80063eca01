"""Locate and lock the user's data folder, which outlives a run: counts, cameras, certificates."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK_NAME = "lock"


def data_dir() -> Path:
    """Return the user's data folder of facestream, which may not exist yet."""
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "facestream"


@contextmanager
def exclusive_lock(folder: Path) -> Iterator[bool]:
    """Lock the folder during the block; yield False where another process holds the lock.

    Two processes would overwrite each other's files. Where locking is impossible (no such system
    call, an unwritable folder, a file system without locks) the lock counts as held.
    """
    try:
        import fcntl

        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / LOCK_NAME, "w")  # noqa: SIM115  held for the whole block
    except (ImportError, OSError):
        yield True
        return
    is_exclusive = True
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the kernel releases it at exit
        except BlockingIOError:
            is_exclusive = False
        except OSError:
            pass  # a file system without locks
        yield is_exclusive
