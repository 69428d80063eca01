"""Settings from file, environment and flags."""

import argparse
from pathlib import Path

import pytest
from facestream.common.core.errors import SettingsError
from facestream.common.core.settings import CommonSettings, add_flags, from_arguments
from pydantic import Field


class DemoSettings(CommonSettings):
    section = "capture"

    detection_fps: float = Field(5.0, gt=0, description="detections per second")


def test_sources_have_precedence(tmp_path: Path) -> None:
    file = tmp_path / "facestream.yaml"
    file.write_text("capture: {detection_fps: 2}\n")
    environ = {"FACESTREAM_CAPTURE_DETECTION_FPS": "3"}
    assert DemoSettings.load(environ={}).detection_fps == 5
    assert DemoSettings.load(environ={}, config_file=file).detection_fps == 2
    assert DemoSettings.load(environ=environ, config_file=file).detection_fps == 3
    assert DemoSettings.load({"detection_fps": "4"}, environ, file).detection_fps == 4


def test_the_broker_of_a_service_overrides_the_shared_one() -> None:
    environ = {
        "FACESTREAM_BROKER": "redis://shared",
        "FACESTREAM_CAPTURE_BROKER": "redis://own",
    }
    assert DemoSettings.load(environ=environ).broker.get_secret_value() == "redis://own"


def test_an_environment_variable_may_name_the_file(tmp_path: Path) -> None:
    file = tmp_path / "facestream.yaml"
    file.write_text("broker: redis://elsewhere\nworker: {anything: its own}\n")
    settings = DemoSettings.load(environ={"FACESTREAM_CONFIG": str(file)})
    assert settings.broker.get_secret_value() == "redis://elsewhere"


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"FACESTREAM_CAPTURE_DETECT_HX": "1"}, "mean FACESTREAM_CAPTURE_DETECTION_FPS"),
        ({"FACESTREAM_BROKR": "redis://h"}, "mean FACESTREAM_BROKER"),
        (
            {"FACESTREAM_CAPTURE_DETECTION_FPS": "often"},
            "FACESTREAM_CAPTURE_DETECTION_FPS: .*number",
        ),
        ({"FACESTREAM_CAPTURE_DETECTION_FPS": "0"}, "greater than 0"),
    ],
)
def test_the_error_names_the_invalid_variable(environ: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        DemoSettings.load(environ=environ)


def test_variables_of_other_services_are_ignored() -> None:
    DemoSettings.load(environ={"FACESTREAM_WORKER_MAX_BATCH_SIZE": "8", "HOME": "/"})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "capture: {detect_hertz: 2}",
            r"unknown setting 'capture.detect_hertz' \(did you mean 'detection_fps'",
        ),
        ("detection_fps: 2", "'detection_fps' belongs under 'capture'"),
        ("captur: {}", "did you mean 'capture'"),
        ("- 1", "keys and values"),
        ("a: [", "not YAML"),
        ("capture: 5", "capture: must contain keys and values"),
        ("worker: [1]", "worker: must contain keys and values"),
        ("broker: \xff", "not text in UTF-8"),
        ("broker: redis://:hidden: word@h/\n", "line 1, column 24: not YAML"),
    ],
)
def test_the_error_names_the_invalid_file(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "facestream.yaml"
    file.write_bytes(content.encode("latin-1"))
    with pytest.raises(SettingsError, match=message) as caught:
        DemoSettings.load(environ={}, config_file=file)
    assert str(file) in str(caught.value)
    assert "hidden" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_error_names_the_missing_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file"):
        DemoSettings.load(environ={}, config_file=tmp_path / "none.yaml")


def test_the_health_address_has_no_short_alias() -> None:
    class ListeningSettings(DemoSettings):
        health_port: int = Field(9101, description="its port")

    parser = argparse.ArgumentParser(exit_on_error=False)
    add_flags(parser, ListeningSettings)
    assert vars(parser.parse_args(["--health-port", "7"]))["health_port"] == "7"
    with pytest.raises(SystemExit):
        parser.parse_args(["--port", "7"])


def test_help_prints_defaults_as_a_user_writes_them() -> None:
    class Various(CommonSettings):
        names: tuple[str, ...] = Field(("age_gender",), description="models")
        folder_dir: Path = Field(Path("/opt/x/models"), description="folder")
        cert_file: Path | None = Field(None, description="certificate")
        bright: bool = Field(False, description="light")
        max_batches: int = Field(2, description="batches")
        lease_ttl_s: float = Field(5, description="lease")

    parser = argparse.ArgumentParser()
    add_flags(parser, Various)
    text = " ".join(parser.format_help().split())
    assert "--names NAMES models (default: age_gender)" in text
    assert "--folder-dir DIR folder (default: models)" in text
    assert "--cert-file FILE certificate --bright" in text
    assert "--bright [true|false] light (default: false)" in text
    assert "--max-batches N batches (default: 2)" in text
    assert "--lease-ttl-s SECONDS lease (default: 5)" in text


def test_every_setting_is_a_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FACESTREAM_CONFIG", raising=False)
    parser = argparse.ArgumentParser()
    add_flags(parser, DemoSettings)
    settings = from_arguments(DemoSettings, parser.parse_args(["--detection-fps", "7"]))
    assert settings.detection_fps == 7
    assert "detections per second" in parser.format_help()


def test_a_boolean_flag_needs_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FACESTREAM_CONFIG", raising=False)

    class Switched(CommonSettings):
        bright: bool = Field(False, description="whether it is on")

    parser = argparse.ArgumentParser()
    add_flags(parser, Switched)
    for arguments, bright in (([], False), (["--bright"], True), (["--bright", "false"], False)):
        assert from_arguments(Switched, parser.parse_args(arguments)).bright is bright


def test_the_password_of_the_broker_is_not_printed() -> None:
    settings = DemoSettings.load({"broker": "redis://user:hidden-word@host"}, environ={})
    assert "hidden-word" not in repr(settings)
