from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from services import cli
from services.common.errors import SettingsError

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = ("up", "capture", "worker", "annotator", "model-server", "demo-camera")


def facestream(*arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "services", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_its_flags(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--help"])
    assert ended.value.code == 0
    assert f"usage: facestream {command}" in capsys.readouterr().out


def test_help_needs_nothing_heavy() -> None:
    code = (
        "import sys; from services.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('tensorflow', 'openvino', 'av', 'cv2', 'grpc') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nonsense"], "invalid choice: 'nonsense'"),
        (["worker", "--batch-max", "none"], "--batch-max: "),
        (["worker", "--colour", "red"], "unrecognized arguments: --colour"),
        (["demo-camera", "--port", "99999"], "--port 99999: must be 0 to 65535"),
        (["demo-camera", "--user", "u"], "both a user and a password"),
        (["capture", "--camera", "x=nowhere"], "camera 'x': url:"),
    ],
)
def test_what_is_asked_wrongly_is_one_line_and_code_2(arguments: list[str], said: str) -> None:
    code, output = facestream(*arguments)
    assert code == 2
    assert said in output
    assert len(output.splitlines()) == 1


def test_what_cannot_be_done_is_one_line_and_code_1(tmp_path: Path) -> None:
    code, output = facestream("demo-camera", "--file", str(tmp_path / "none.mp4"))
    assert code == 1
    assert len(output.splitlines()) == 1
    assert "none.mp4: cannot be read as a video: No such file" in output


def test_cameras_without_a_name_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACESTREAM_CAMERAS", "rtsp://h/a?x=1 yard=http://h/video")
    cameras = cli._cameras(["door=rtsp://h/b"])
    assert [camera.name for camera in cameras] == ["door", "camera2", "yard"]


def test_the_environment_is_cleared_of_cameras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACESTREAM_CAMERAS", "a=rtsp://u:p@h/1")
    cli._cameras([])
    assert cli._cameras([]) == []


def test_a_name_given_twice_is_refused() -> None:
    with pytest.raises(SettingsError, match="camera 'a' is given twice"):
        cli._cameras(["a=rtsp://h/1", "a=rtsp://h/2"])
