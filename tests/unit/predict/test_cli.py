"""The `predict` command's own edges; what it finds is tested with real pictures elsewhere."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from facestream.cli import main
from facestream.common.core.errors import StartError
from facestream.predict import cli, predictor


def test_a_reader_that_has_gone_ends_it_quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        with cli._to_standard_output():
            print("a face")
        print("what follows goes nowhere, and is no error when Python ends", flush=True)


def test_a_name_that_is_no_text_goes_out_as_it_came_in(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    name = b"caf\xe9.jpg"
    with (tmp_path / "said").open("w", encoding="utf-8") as said:
        monkeypatch.setattr(sys, "stdout", said)
        with cli._to_standard_output():
            print(os.fsdecode(name))
    assert (tmp_path / "said").read_bytes() == name + b"\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with (
            pytest.raises(StartError, match="cannot write the answers: No space left"),
            cli._to_standard_output(),
        ):
            print("a face")
        print("what follows goes nowhere", flush=True)


@pytest.mark.parametrize(
    ("flag", "value", "said"),
    [
        ("--detect-px", "0", "must be 32 to 4096"),
        ("--min-score", "nan", "must be between 0 and 1"),
        ("--every-s", "-1", "must be 0"),
    ],
)
def test_a_senseless_flag_is_one_line(
    flag: str, value: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", "x.jpg", flag, value]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"facestream: {flag} ")
    assert said in error
    assert len(error.splitlines()) == 1


def test_help_says_from_which_score_on_a_face_counts(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["predict", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert f"{predictor._SURE_SCORE}" in said
    assert f"at least {predictor._CLEAR_SCORE} where faces are so large" in said
