from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from facestream.launcher import embedded_broker
from facestream.launcher.child_process import ManagedProcess

from tests.fixtures.polling import wait_for
from tests.fixtures.stack import processes


@pytest.fixture
def folder() -> Iterator[Path]:
    with embedded_broker.private_temp_dir() as folder:
        yield folder


@pytest.fixture
def running_broker(folder: Path) -> Iterator[redis.Redis]:
    configuration = embedded_broker.broker_configuration(folder, 16)
    process = ManagedProcess(
        "broker", embedded_broker.broker_command(), os.environ, print, configuration
    )
    process.start()
    wait_for(lambda: embedded_broker.ping(folder) == "", "a reply", 10)
    with redis.Redis.from_url(embedded_broker.broker_url(folder)) as client:
        yield client
    process.kill()
    assert process.wait(5)


def test_broker_uses_a_private_socket_and_writes_nothing(
    running_broker: redis.Redis, folder: Path
) -> None:
    assert running_broker.config_get("save")["save"] == ""
    assert running_broker.config_get("appendonly")["appendonly"] == "no"
    assert running_broker.config_get("port")["port"] == "0"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [file.name for file in folder.iterdir()] == [embedded_broker.SOCKET_NAME]


def test_memory_is_capped_and_nothing_is_evicted(running_broker: redis.Redis) -> None:
    running_broker.set("first", b"1")
    too_much = {f"k{i}": bytes(1024 * 1024) for i in range(32)}
    with pytest.raises(redis.exceptions.OutOfMemoryError):
        [running_broker.set(key, value) for key, value in too_much.items()]
    assert running_broker.get("first") == b"1"


def test_endless_script_is_killed(running_broker: redis.Redis, folder: Path) -> None:
    assert running_broker.config_get("busy-reply-threshold")["busy-reply-threshold"] == "500"
    errors: list[str] = []

    def run_endless_script() -> None:
        with redis.Redis.from_url(embedded_broker.broker_url(folder)) as client:
            try:
                client.eval("while true do end", 0)
            except redis.RedisError as error:
                errors.append(str(error))

    thread = threading.Thread(target=run_endless_script)
    thread.start()
    wait_for(lambda: "script" in embedded_broker.ping(folder), "the busy reply", 10)
    wait_for(lambda: embedded_broker.ping(folder) == "", "the end of the script", 10)
    thread.join(5)
    assert len(errors) == 1
    assert "killed" in errors[0].lower()


def test_ping_returns_why_the_broker_is_unreachable(folder: Path) -> None:
    assert embedded_broker.ping(folder) == "No such file or directory"


def test_folder_is_removed_afterwards() -> None:
    with embedded_broker.private_temp_dir() as folder:
        assert folder.is_dir()
    assert not folder.exists()


def test_folders_of_killed_launchers_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ended = subprocess.Popen([sys.executable, "-I", "-S", "-c", ""])
    ended.wait()
    stale, own = tmp_path / f"facestream-{ended.pid}-x", tmp_path / f"facestream-{os.getpid()}-x"
    foreign = tmp_path / "facestream-notes"
    for path in (stale, own, foreign):
        path.mkdir()
    with embedded_broker.private_temp_dir():
        assert not stale.exists()
        assert own.exists()
        assert foreign.exists()


def test_broker_dies_with_its_parent_even_if_that_is_killed(folder: Path) -> None:
    code = (
        "import os, time; from pathlib import Path\n"
        "from facestream.launcher import embedded_broker\n"
        "from facestream.launcher.child_process import ManagedProcess\n"
        f"folder = Path({str(folder)!r})\n"
        "configuration = embedded_broker.broker_configuration(folder, 16)\n"
        "command = embedded_broker.broker_command()\n"
        "process = ManagedProcess('b', command, os.environ, print, configuration)\n"
        "process.start()\n"
        "time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    wait_for(lambda: embedded_broker.ping(folder) == "", "a reply", 20)
    children = [pid for pid, of, _ in processes() if of == parent.pid]
    assert len(children) == 1

    parent.send_signal(signal.SIGKILL)
    parent.wait(5)

    wait_for(lambda: not any(pid in children for pid, _, _ in processes()), "no broker", 10)
