"""Where a stack keeps what it must not lose from one run to the next."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK_NAME = "lock"


def data_folder() -> Path:
    """The user's data folder of facestream; it may not exist yet."""
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "facestream"


@contextmanager
def exclusive_lock(folder: Path) -> Iterator[bool]:
    """Whether this process alone uses the folder during the block; two would overwrite each other.

    Where that cannot be told (no such system call, a folder that cannot be written) it does.
    """
    try:
        import fcntl

        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / LOCK_NAME, "w")  # noqa: SIM115  held for the whole block
    except (ImportError, OSError):
        yield True
        return
    is_alone = True
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # let go when this process ends
        except BlockingIOError:
            is_alone = False
        except OSError:
            pass  # a file system without locks
        yield is_alone
