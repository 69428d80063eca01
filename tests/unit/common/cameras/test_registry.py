"""Cameras, their file and their place in the broker."""

from pathlib import Path

import pytest
import redis
from facestream.common.cameras.registry import Camera, CameraRegistry, CameraStatus, load_cameras
from facestream.common.core.errors import SettingsError


def test_a_password_is_shown_to_nobody_but_the_broker() -> None:
    camera = Camera.parse("door=rtsp://ann:hidden-word@10.0.0.7:8554/live")
    assert "hidden-word" not in repr(camera)
    assert camera.redacted_url() == "rtsp://ann:***@10.0.0.7:8554/live"
    assert Camera.model_validate_json(camera.to_json()) == camera


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rtsp://host/live", "NAME=URL"),
        ("Door=rtsp://host/live", "lower-case"),
        ("door=gopher://host", "url: scheme must be one of"),
        ("door=rtsp:///live", "names no host"),
        ("door=rtsp://host:port/", "not a URL"),
        ("door\n=rtsp://host/live", "lower-case"),
        ("door=file://", "file:///path"),
        ("door=phone:short", "write it as phone:KEY"),
        ("door=phone://" + "k" * 32, "write it as phone:KEY"),
    ],
)
def test_a_wrong_camera_is_refused_in_one_line(text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said) as caught:
        Camera.parse(text)
    assert "\n" not in str(caught.value)


def test_what_a_camera_is_does_not_hang_on_how_its_scheme_is_written() -> None:
    assert Camera.parse("door=FILE:///etc/passwd").is_local
    assert Camera.parse("door=Device:///dev/video0").is_local
    assert Camera.parse("door=PHONE:" + "k" * 32).is_phone
    assert not Camera.parse("door=rtsp://host/file:").is_local


def test_a_phones_key_is_shown_to_nobody_but_the_broker() -> None:
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
def test_a_password_that_breaks_its_url_is_not_quoted(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Camera.parse(text)
    assert "Secret" not in str(caught.value)
    assert any(hint in str(caught.value) for hint in ("# as %23", "NAME=URL"))


def test_cameras_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "cameras.yaml"
    file.write_text(
        "cameras:\n"
        "  - {name: door, url: 'rtsp://host/live', rotate: 90}\n"
        "  - {name: till, url: 'http://host:8080/video'}\n"
    )
    assert [(c.name, c.rotate) for c in load_cameras(file)] == [("door", 90), ("till", 0)]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("cameras: [{name: door, url: 'rtsp://h/', rotat: 90}]", "camera 'door': rotat"),
        (
            "cameras: [{name: a, url: 'rtsp://h/'}, {name: a, url: 'rtsp://h/'}]",
            "'a' is given twice",
        ),
        ("cameras: 3", "list under 'cameras'"),
        ("cameras: [", "line 1, column 11: not YAML"),
        ("cameras: \xff", "not text in UTF-8"),
        ("cameras: 2024-99-99", "not YAML"),
        ("cameras:\n - url: 'rtsp://ann:Secret'1@h/'", "line 2, column 28: not YAML"),
        ("cameras:\n - url: rtsp://ann:Secret: 1@h/", "line 2, column 26: not YAML"),
    ],
)
def test_a_wrong_camera_file_names_the_place(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "cameras.yaml"
    file.write_bytes(content.encode("latin-1"))
    with pytest.raises(SettingsError, match=said) as caught:
        load_cameras(file)
    assert "Secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_zone_and_a_line_of_one_name_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "cameras.yaml"
    file.write_text(
        "cameras:\n  - name: door\n    url: rtsp://host/live\n"
        "    zones: [{name: way-in, points: [[0, 0], [1, 0], [1, 1]]}]\n"
        "    lines: [{name: way-in, points: [[0, 0], [1, 1]]}]\n"
    )
    with pytest.raises(SettingsError, match="camera 'door': 'way-in' is the name of a zone and"):
        load_cameras(file)


def test_the_registry_keeps_cameras_and_states(broker_url: str) -> None:
    with redis.Redis.from_url(broker_url) as broker:
        registry = CameraRegistry(broker)
        registry.upsert(Camera.parse("door=rtsp://host/live"))
        registry.upsert(Camera.parse("till=rtsp://host/live"))
        registry.put_statuses([CameraStatus(name="door", state="live", since=1.0, fps=15)])
        assert {s.name: s.state for s in registry.statuses()} == {
            "door": "live",
            "till": "connecting",
        }
        registry.mark_watched("till")
        assert registry.watched(["door", "till"]) == {"till"}
        assert registry.remove("door")
        assert not registry.remove("door")
        assert list(registry.cameras()) == ["till"]
