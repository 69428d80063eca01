"""Tests of the `facestream` command line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from facestream import __version__, cli
from facestream.common.core import process_lifecycle
from facestream.common.core.errors import SettingsError
from facestream.common.core.paths import CHECKOUT
from facestream.launcher import launcher

COMMANDS = (
    *("up", "capture", "worker", "annotator", "model-server", "demo-camera"),
    *("hash-password", "predict", "distill-targets", "train", "evaluate", "export", "bench"),
)


def facestream(*arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "facestream", *arguments],
        cwd=CHECKOUT,
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


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"facestream {__version__}\n"


@pytest.mark.parametrize("command", ["distill-targets", "train", "evaluate", "export", "bench"])
def test_training_and_benchmark_need_a_source_checkout(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(cli, "CHECKOUT", tmp_path)
    assert cli.main([command]) == 2
    assert f"{command} needs a source checkout" in capsys.readouterr().err


def test_help_prints_no_path_of_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    for command in COMMANDS:
        with pytest.raises(SystemExit):
            cli.main([command, "--help"])
    text = capsys.readouterr().out
    assert str(CHECKOUT) not in text
    assert "(default: )" not in text
    assert "(default: None)" not in text


def test_help_needs_nothing_heavy() -> None:
    code = (
        "import sys; from facestream.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('tensorflow', 'openvino', 'av', 'cv2', 'grpc') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense"], "invalid choice: 'nonsense'"),
        (["worker", "--max-batch-size", "none"], "--max-batch-size: "),
        (["worker", "--unknown", "1"], "unrecognized arguments: --unknown"),
        (["demo-camera", "--port", "99999"], "--port 99999: must be 0 to 65535"),
        (["demo-camera", "--user", "u"], "both a user and a password"),
        (["capture", "--camera", "x=nowhere"], "camera 'x': url:"),
        (["up", "--camra", "door=rtsp://u:hidden@h/x"], "--camra door=rtsp://u:***@h/x"),
        (["rtsp://u:hidden@h/x"], "invalid choice: 'rtsp://u:***@h/x'"),
        (["up", "--camera", "x=rtsp://u:hid#den@h/x"], "camera 'x': url: "),
        (["up", "--cameras-file", "/no/such.yaml"], "/no/such.yaml: No such file"),
    ],
)
def test_usage_errors_are_one_line_and_exit_code_2(arguments: list[str], message: str) -> None:
    code, output = facestream(*arguments)
    assert code == 2
    assert message in output
    assert len(output.splitlines()) == 1
    assert not any(secret in output for secret in ("hidden", "hid#den"))


def test_cameras_of_a_file_and_of_flags_have_distinct_names(tmp_path: Path) -> None:
    file = tmp_path / "cameras.yaml"
    file.write_text("cameras: [{name: door, url: 'rtsp://h/1'}]\n")
    code, output = facestream("up", "--cameras-file", str(file), "--camera", "door=rtsp://h/2")
    assert (code, output) == (2, "facestream: camera 'door' is given twice\n")


def test_the_cameras_file_reaches_the_launcher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "cameras.yaml"
    file.write_text("cameras: [{name: door, url: 'rtsp://h/1'}]\n")
    files: list[object] = []
    monkeypatch.setattr(
        launcher, "serve", lambda *_, cameras_file, **__: files.append(cameras_file)
    )
    monkeypatch.setattr(process_lifecycle, "run_service", lambda name, level, main: main(None))
    cli.main(["up", "--cameras-file", str(file)])
    assert files == [file]


def test_the_installed_command_finds_the_benchmark_of_its_checkout(tmp_path: Path) -> None:
    # As in an editable installation: the package is importable, the checkout is not.
    (tmp_path / "facestream").symlink_to(CHECKOUT / "services" / "facestream")
    script = "import sys; from facestream.cli import main; sys.exit(main(['bench', '--help']))"
    done = subprocess.run(
        [sys.executable, "-P", "-c", script],
        cwd="/",
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "--quick" in done.stdout


def test_ctrl_c_is_one_line_and_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_demo_camera", interrupted)
    assert cli.main(["demo-camera"]) == 1
    assert capsys.readouterr().err == "facestream: interrupted\n"


def test_failures_are_one_line_and_exit_code_1(tmp_path: Path) -> None:
    code, output = facestream("demo-camera", "--file", str(tmp_path / "none.mp4"))
    assert code == 1
    assert len(output.splitlines()) == 1
    assert "none.mp4: cannot be read as a video: No such file" in output


def test_cameras_without_a_name_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACESTREAM_CAMERAS", "rtsp://h/a?x=1 yard=http://h/video")
    cameras = cli._collect_cameras(["door=rtsp://h/b"])
    assert [camera.name for camera in cameras] == ["door", "camera2", "yard"]


def test_the_environment_is_cleared_of_cameras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACESTREAM_CAMERAS", "a=rtsp://u:p@h/1")
    cli._collect_cameras([])
    assert cli._collect_cameras([]) == []


def test_duplicate_camera_names_are_an_error() -> None:
    with pytest.raises(SettingsError, match="camera 'a' is given twice"):
        cli._collect_cameras(["a=rtsp://h/1", "a=rtsp://h/2"])
