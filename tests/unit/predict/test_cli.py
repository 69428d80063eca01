"""Tests of the `predict` command line; its predictions are tested with real images elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from facestream.cli import main
from facestream.common.core.errors import StartError
from facestream.common.core.paths import CHECKOUT
from facestream.predict import cli, predictor


def test_closed_pipe_ends_the_output_silently(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        with cli._standard_output():
            print("a face")
        print("discarded, and no error at exit", flush=True)


def test_file_name_that_is_not_utf8_is_printed_unchanged(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    name = b"caf\xe9.jpg"
    with (tmp_path / "output").open("w", encoding="utf-8") as output:
        monkeypatch.setattr(sys, "stdout", output)
        with cli._standard_output():
            print(os.fsdecode(name))
    assert (tmp_path / "output").read_bytes() == name + b"\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk_is_reported_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with (
            pytest.raises(StartError, match="cannot write the results: No space left"),
            cli._standard_output(),
        ):
            print("a face")
        print("discarded", flush=True)


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("--detector-size-px", "0", "must be 32 to 4096"),
        ("--min-score", "nan", "must be between 0 and 1"),
        ("--frame-interval-s", "-1", "must be 0"),
    ],
)
def test_invalid_flag_is_one_line(
    flag: str, value: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", "x.jpg", flag, value]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"facestream: {flag} ")
    assert message in error
    assert len(error.splitlines()) == 1


def test_help_states_the_minimum_scores(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["predict", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert f"default: {predictor._DEFAULT_MIN_SCORE}" in text
    assert f"a minimum of at least {predictor._CERTAIN_SCORE}" in text


def test_predict_needs_no_package_of_other_services() -> None:
    code = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(('google.protobuf', 'redis', 'prometheus_client')))\n"
        "from facestream.predict import annotated_copies, annotated_video, input_report, predictor"
    )
    subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, check=True)
