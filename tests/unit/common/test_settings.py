"""Settings from file, environment and flags."""

import argparse
from pathlib import Path

import pytest
from pydantic import Field

from services.common.errors import SettingsError
from services.common.settings import CommonSettings, add_flags, from_arguments


class DemoSettings(CommonSettings):
    section = "capture"

    detect_hz: float = Field(5.0, gt=0, description="detections per second")


def test_later_sources_win(tmp_path: Path) -> None:
    file = tmp_path / "facestream.yaml"
    file.write_text("capture: {detect_hz: 2}\n")
    environ = {"FACESTREAM_CAPTURE_DETECT_HZ": "3"}
    assert DemoSettings.load(environ={}).detect_hz == 5
    assert DemoSettings.load(environ={}, config_file=file).detect_hz == 2
    assert DemoSettings.load(environ=environ, config_file=file).detect_hz == 3
    assert DemoSettings.load({"detect_hz": "4"}, environ, file).detect_hz == 4


def test_a_services_own_broker_beats_the_shared_one() -> None:
    environ = {
        "FACESTREAM_BROKER": "redis://shared",
        "FACESTREAM_CAPTURE_BROKER": "redis://own",
    }
    assert DemoSettings.load(environ=environ).broker.get_secret_value() == "redis://own"


def test_the_file_may_be_named_by_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "facestream.yaml"
    file.write_text("broker: redis://elsewhere\nworker: {anything: its own}\n")
    settings = DemoSettings.load(environ={"FACESTREAM_CONFIG": str(file)})
    assert settings.broker.get_secret_value() == "redis://elsewhere"


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"FACESTREAM_CAPTURE_DETECT_HX": "1"}, "mean FACESTREAM_CAPTURE_DETECT_HZ"),
        ({"FACESTREAM_BROKR": "redis://h"}, "mean FACESTREAM_BROKER"),
        ({"FACESTREAM_CAPTURE_DETECT_HZ": "often"}, "FACESTREAM_CAPTURE_DETECT_HZ: .*number"),
        ({"FACESTREAM_CAPTURE_DETECT_HZ": "0"}, "greater than 0"),
    ],
)
def test_a_wrong_variable_is_named(environ: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        DemoSettings.load(environ=environ)


def test_variables_of_other_services_are_let_be() -> None:
    DemoSettings.load(environ={"FACESTREAM_WORKER_BATCH_MAX": "8", "HOME": "/"})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            "capture: {detect_hertz: 2}",
            r"unknown setting 'capture.detect_hertz' \(did you mean 'detect_hz'",
        ),
        ("captur: {}", "did you mean 'capture'"),
        ("- 1", "keys and values"),
        ("a: [", "not YAML"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "facestream.yaml"
    file.write_text(content)
    with pytest.raises(SettingsError, match=said) as caught:
        DemoSettings.load(environ={}, config_file=file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file"):
        DemoSettings.load(environ={}, config_file=tmp_path / "none.yaml")


def test_every_setting_is_a_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FACESTREAM_CONFIG", raising=False)
    parser = argparse.ArgumentParser()
    add_flags(parser, DemoSettings)
    settings = from_arguments(DemoSettings, parser.parse_args(["--detect-hz", "7"]))
    assert settings.detect_hz == 7
    assert "detections per second" in parser.format_help()


def test_the_brokers_password_is_not_printed() -> None:
    settings = DemoSettings.load({"broker": "redis://user:hidden-word@host"}, environ={})
    assert "hidden-word" not in repr(settings)
