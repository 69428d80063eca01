"""A camera's configuration: names, URLs and secrets."""

import pytest
from facestream.common.cameras.models import Camera
from facestream.common.core.errors import SettingsError
from pydantic import ValidationError


def test_only_the_json_for_the_broker_contains_the_password() -> None:
    camera = Camera.parse("door=rtsp://ann:hidden-word@10.0.0.7:8554/live")
    assert "hidden-word" not in repr(camera)
    assert camera.redacted_url() == "rtsp://ann:***@10.0.0.7:8554/live"
    assert Camera.model_validate_json(camera.to_json()) == camera


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rtsp://host/live", "NAME=URL"),
        ("Door=rtsp://host/live", "lower-case"),
        ("door=gopher://host", "url: scheme must be one of"),
        ("door=rtsp:///live", "has no host"),
        ("door=rtsp://host:port/", "not a valid URL"),
        ("door\n=rtsp://host/live", "lower-case"),
        ("door=file://", "file:///path"),
        ("door=phone:short", "write it as phone:KEY"),
        ("door=phone://" + "k" * 32, "write it as phone:KEY"),
    ],
)
def test_an_invalid_camera_is_reported_in_one_line(text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as error:
        Camera.parse(text)
    assert "\n" not in str(error.value)


def test_the_scheme_is_case_insensitive() -> None:
    assert Camera.parse("door=FILE:///etc/passwd").is_local
    assert Camera.parse("door=Device:///dev/video0").is_local
    assert Camera.parse("door=PHONE:" + "k" * 32).is_phone
    assert not Camera.parse("door=rtsp://host/file:").is_local


def test_only_the_json_for_the_broker_contains_the_key_of_a_phone() -> None:
    camera = Camera.parse("door=phone:" + "k" * 32)
    assert camera.redacted_url() == "phone:***"
    assert Camera.model_validate_json(camera.to_json()) == camera


@pytest.mark.parametrize(
    "text",
    [
        "door=rtsp://ann:Secret#1@host/live",
        "door=rtsp://ann:12#Secret@host/live",
        "door=rtsp://ann:Secret/1@host/live",
        "door=rtsp://ann:Secret?1@host/live",
        "door=rtsp://ann:[Secret@host/live",
        "rtsp://ann:Secret/1@host/live",
        "ann:Secret=1@host/live",
    ],
)
def test_an_error_does_not_quote_a_password_that_breaks_the_url(text: str) -> None:
    with pytest.raises(SettingsError) as error:
        Camera.parse(text)
    assert "Secret" not in str(error.value)
    assert any(hint in str(error.value) for hint in ("# as %23", "NAME=URL"))


def test_stored_camera_of_0_1_0_gets_the_full_privacy_mode() -> None:
    stored = {"name": "door", "url": "rtsp://host/live", "privacy": "live"}
    assert Camera.from_stored(stored).privacy == "full"
    assert stored["privacy"] == "live"
    assert Camera.from_stored(stored | {"privacy": "blur"}).privacy == "blur"


def test_new_camera_cannot_use_the_privacy_mode_of_0_1_0() -> None:
    with pytest.raises(ValidationError, match="full"):
        Camera.model_validate({"name": "door", "url": "rtsp://host/live", "privacy": "live"})
