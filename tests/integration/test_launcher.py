"""Tests of `facestream up` with real processes: output, secrets and clean-up."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest
from facestream.demo.h264_packetizer import Clip
from facestream.demo.rtsp_server import RtspServer, running

from tests.fixtures.polling import wait_for
from tests.fixtures.stack import Stack, make_clip, processes, running_stack

PASSWORD = "s3cr3t-pass"


def temp_dirs(stack: Stack) -> list[Path]:
    return list(Path("/tmp").glob(f"facestream-{stack.process.pid}-*"))


def core_size_limits(pid: int) -> list[str]:
    """Return the soft and hard limit of a process's core dumps."""
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return next(line.split()[4:6] for line in lines if line.startswith("Max core file size"))


def test_a_stack_leaks_no_camera_password_and_no_core_dump(tmp_path: Path) -> None:
    clip = Clip.load(make_clip(tmp_path / "clip.mp4"))
    server = RtspServer({"door": clip}, port=0, credentials=("admin", PASSWORD))
    with running(server):
        url = f"rtsp://admin:{PASSWORD}@127.0.0.1:{server.port}/door"
        with running_stack(
            "--verbose",
            cache=tmp_path,
            environment={"FACESTREAM_CAMERAS": f"door={url}", "TMPDIR": "/tmp"},
        ) as stack:
            wait_for(lambda: "door: live, 128x96" in stack.output, "the camera live")
            parts = stack.parts()
            assert {"broker", "capture", "worker", "annotator", "model-server"} == set(parts)
            assert not any(PASSWORD in command for _, _, command in processes())
            assert stack.get("/api/cameras")[0]["name"] == "door"
            for name, pid in {"launcher": stack.process.pid, **parts}.items():
                assert core_size_limits(pid) == ["0", "0"], f"a crash of {name} writes faces"

            assert stack.end() == 0

            assert stack.left(parts) == []
            assert temp_dirs(stack) == []
            assert PASSWORD not in stack.output


def test_port_in_use_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        stack = Stack("--port", str(port), cache=tmp_path)
        assert stack.wait_ended(30) == 1
    assert len(stack.lines) == 1
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in stack.output


def test_missing_model_is_one_line(tmp_path: Path) -> None:
    environment = {"FACESTREAM_MODEL_SERVER_MODELS_DIR": str(tmp_path)}
    stack = Stack(cache=tmp_path, environment=environment)
    assert stack.wait_ended(30) == 1
    assert stack.lines == [
        f"facestream: no model in {tmp_path}; export one, "
        "or set --model-server-address to a running server"
    ]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--camera", "Door=rtsp://h/1"], "facestream: camera 'Door': name:"),
        (["--camera", "a=rtsp://h/1", "--camera", "a=rtsp://h/2"], "camera 'a' is given twice"),
        (["--camera", "ftp://u:verysecret@h/1"], "facestream: camera 'camera1': url:"),
    ],
)
def test_invalid_camera_is_one_line(tmp_path: Path, arguments: list[str], line: str) -> None:
    stack = Stack(*arguments, cache=tmp_path)
    assert stack.wait_ended(30) == 2
    assert len(stack.lines) == 1
    assert line in stack.output
    assert "verysecret" not in stack.output


def test_process_that_cannot_start_ends_the_launcher(tmp_path: Path) -> None:
    environment = {"FACESTREAM_WORKER_MAX_BATCH_SIZE": "many"}
    stack = Stack(cache=tmp_path, environment=environment)
    assert stack.wait_ended(60) == 1
    assert "FACESTREAM_WORKER_MAX_BATCH_SIZE" in stack.output
    assert "worker cannot start; see its error above" in stack.output
    assert not subprocess.run(
        ["pgrep", "-P", str(stack.process.pid)], capture_output=True, check=False
    ).stdout
