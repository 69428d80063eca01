"""The cameras on disk: what is there again after everything was restarted."""

from __future__ import annotations

import logging
import stat
from pathlib import Path

import pytest
from facestream.capture.ownership.camera_store import CameraStore
from facestream.common.cameras.models import Camera
from facestream.common.cameras.regions import Line

DOOR = Camera.parse("door=rtsp://user:hunter2secret@10.0.0.5/live")
YARD = Camera.parse("yard=rtsp://10.0.0.6/live")
LINE = Line(name="in", points=((0.5, 0.0), (0.5, 1.0)))


def kept_then(file: Path, given: list[Camera], *cameras: Camera) -> None:
    """A run that was given `given`, and at whose end these cameras were there."""
    CameraStore(file, given).save({camera.name: camera for camera in cameras})


def wanted(file: Path, *given: Camera) -> dict[str, Camera]:
    return CameraStore(file, given).initial_cameras()


def test_without_a_file_the_given_ones_are_wanted(tmp_path: Path) -> None:
    assert wanted(tmp_path / "none.json", DOOR) == {"door": DOOR}
    assert CameraStore(None, [DOOR]).initial_cameras() == {"door": DOOR}
    CameraStore(None, [DOOR]).save({"yard": YARD})


def test_what_was_added_on_the_page_comes_back_and_what_was_removed_does_not(
    tmp_path: Path,
) -> None:
    file = tmp_path / "folder" / "cameras.json"
    kept_then(file, [DOOR], DOOR, YARD)
    assert wanted(file, DOOR) == {"door": DOOR, "yard": YARD}
    kept_then(file, [DOOR], DOOR)
    assert wanted(file, DOOR) == {"door": DOOR}


def test_what_was_changed_on_the_page_stays_changed_until_it_is_given_otherwise(
    tmp_path: Path,
) -> None:
    file = tmp_path / "cameras.json"
    drawn = DOOR.model_copy(update={"lines": (LINE,)})
    kept_then(file, [DOOR], drawn)
    assert wanted(file, DOOR) == {"door": drawn}
    moved = Camera.parse("door=rtsp://10.0.0.9/live")
    assert wanted(file, moved) == {"door": moved}


def test_what_is_given_no_longer_does_not_come_back(tmp_path: Path) -> None:
    file = tmp_path / "cameras.json"
    kept_then(file, [DOOR], DOOR, YARD)
    assert wanted(file) == {"yard": YARD}


def test_what_left_the_file_while_the_broker_went_on_does_not_come_back(tmp_path: Path) -> None:
    file = tmp_path / "cameras.json"
    kept_then(file, [DOOR], DOOR, YARD)
    kept_then(file, [], DOOR, YARD)
    assert wanted(file) == {"yard": YARD}
    replaced = Camera.parse("door=rtsp://10.0.0.9/live")  # under the same name, on the page
    kept_then(file, [DOOR], DOOR)
    kept_then(file, [], replaced)
    assert wanted(file) == {"door": replaced}


def test_a_given_camera_that_was_removed_on_the_page_is_there_when_it_is_given_again(
    tmp_path: Path,
) -> None:
    file = tmp_path / "cameras.json"
    kept_then(file, [DOOR], YARD)
    assert wanted(file, DOOR) == {"door": DOOR, "yard": YARD}


def test_a_given_camera_keeps_its_new_name(tmp_path: Path) -> None:
    file = tmp_path / "cameras.json"
    front = DOOR.model_copy(update={"name": "front"})
    kept_then(file, [DOOR], front)
    assert wanted(file, DOOR) == {"front": front}
    turned = DOOR.model_copy(update={"rotate": 90})
    assert wanted(file, turned) == {"door": turned}, "not read twice"


def test_a_camera_of_the_page_that_is_given_otherwise_is_as_it_is_given(tmp_path: Path) -> None:
    file = tmp_path / "cameras.json"
    kept_then(file, [], DOOR)
    hidden = DOOR.model_copy(update={"privacy": "blur"})
    assert wanted(file, hidden) == {"door": hidden}
    entrance = DOOR.model_copy(update={"name": "entrance"})
    assert wanted(file, entrance) == {"door": DOOR, "entrance": entrance}


def test_what_was_given_once_and_then_added_on_the_page_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "cameras.json"
    kept_then(file, [DOOR], DOOR)
    later = CameraStore(file, [])
    later.save({})
    later.save({"door": DOOR})
    assert wanted(file) == {"door": DOOR}


def test_the_file_is_its_owners_alone_and_written_only_when_something_changed(
    tmp_path: Path,
) -> None:
    file = tmp_path / "cameras.json"
    kept = CameraStore(file, [])
    kept.save({"door": DOOR})
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.unlink()
    kept.save({"door": DOOR})
    assert not file.exists()
    kept.save({"door": DOOR, "yard": YARD})
    assert file.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["cameras.json"]


@pytest.mark.parametrize("text", ["", "[]", '{"cameras": [{"name": "x"}], "given": []}', "{"])
def test_a_damaged_file_is_put_aside_and_told_without_its_secrets(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "cameras.json"
    file.write_text(text)
    assert wanted(file, DOOR) == {"door": DOOR}
    assert "holds no cameras" in caplog.text
    assert (tmp_path / "cameras.json.damaged").read_text() == text
    kept_then(file, [], YARD)
    assert wanted(file) == {"yard": YARD}


def test_a_folder_that_cannot_be_written_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    blocked = tmp_path / "file"
    blocked.write_text("")
    kept = CameraStore(blocked / "cameras.json", [])
    kept.save({"door": DOOR})
    kept.save({"door": DOOR})
    assert caplog.text.count("cannot be kept") == 1
    assert "hunter2secret" not in caplog.text


def test_file_of_0_1_0_is_read_with_the_full_privacy_mode(tmp_path: Path) -> None:
    file = tmp_path / "cameras.json"
    file.write_text(
        '{"cameras": [{"name": "yard", "url": "rtsp://10.0.0.6/live", "privacy": "live"}],'
        ' "given": []}'
    )
    assert wanted(file) == {"yard": YARD}
    assert YARD.privacy == "full"
