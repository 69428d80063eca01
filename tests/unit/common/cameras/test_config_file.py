"""Cameras from a YAML file."""

from pathlib import Path

import pytest
from facestream.common.cameras.config_file import load_cameras
from facestream.common.core.errors import SettingsError


def test_cameras_are_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "cameras.yaml"
    file.write_text(
        "cameras:\n"
        "  - {name: door, url: 'rtsp://host/live', rotate: 90}\n"
        "  - {name: till, url: 'http://host:8080/video'}\n"
    )
    assert [(c.name, c.rotate) for c in load_cameras(file)] == [("door", 90), ("till", 0)]


@pytest.mark.parametrize(
    ("content", "message"),
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
def test_the_error_names_the_position_in_the_file(
    tmp_path: Path, content: str, message: str
) -> None:
    file = tmp_path / "cameras.yaml"
    file.write_bytes(content.encode("latin-1"))
    with pytest.raises(SettingsError, match=message) as error:
        load_cameras(file)
    assert "Secret" not in str(error.value)
    assert "\n" not in str(error.value)


def test_a_zone_and_a_line_with_the_same_name_are_rejected(tmp_path: Path) -> None:
    file = tmp_path / "cameras.yaml"
    file.write_text(
        "cameras:\n  - name: door\n    url: rtsp://host/live\n"
        "    zones: [{name: way-in, points: [[0, 0], [1, 0], [1, 1]]}]\n"
        "    lines: [{name: way-in, points: [[0, 0], [1, 1]]}]\n"
    )
    with pytest.raises(SettingsError, match="camera 'door': 'way-in' is the name of a zone and"):
        load_cameras(file)
