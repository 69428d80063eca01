"""Persisted cameras: which are restored after a restart."""

from __future__ import annotations

import json
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


def save_run(file: Path, configured: list[Camera], *cameras: Camera) -> None:
    """Simulate a run with these configured cameras that ends with these cameras."""
    CameraStore(file, configured).save({camera.name: camera for camera in cameras})


def initial(file: Path, *configured: Camera) -> dict[str, Camera]:
    return CameraStore(file, configured).initial_cameras()


def test_without_a_file_the_configured_cameras_are_read(tmp_path: Path) -> None:
    assert initial(tmp_path / "none.json", DOOR) == {"door": DOOR}
    assert CameraStore(None, [DOOR]).initial_cameras() == {"door": DOOR}
    CameraStore(None, [DOOR]).save({"yard": YARD})


def test_cameras_added_in_the_web_ui_are_restored_and_removed_ones_are_not(
    tmp_path: Path,
) -> None:
    file = tmp_path / "folder" / "camera-state.json"
    save_run(file, [DOOR], DOOR, YARD)
    assert initial(file, DOOR) == {"door": DOOR, "yard": YARD}
    save_run(file, [DOOR], DOOR)
    assert initial(file, DOOR) == {"door": DOOR}


def test_an_edit_in_the_web_ui_is_restored_until_the_configuration_changes(
    tmp_path: Path,
) -> None:
    file = tmp_path / "camera-state.json"
    drawn = DOOR.model_copy(update={"lines": (LINE,)})
    save_run(file, [DOOR], drawn)
    assert initial(file, DOOR) == {"door": drawn}
    moved = Camera.parse("door=rtsp://10.0.0.9/live")
    assert initial(file, moved) == {"door": moved}


def test_a_camera_removed_from_the_configuration_is_not_restored(tmp_path: Path) -> None:
    file = tmp_path / "camera-state.json"
    save_run(file, [DOOR], DOOR, YARD)
    assert initial(file) == {"yard": YARD}


def test_a_camera_removed_from_the_configuration_while_the_broker_ran_is_not_restored(
    tmp_path: Path,
) -> None:
    file = tmp_path / "camera-state.json"
    save_run(file, [DOOR], DOOR, YARD)
    save_run(file, [], DOOR, YARD)
    assert initial(file) == {"yard": YARD}
    replaced = Camera.parse("door=rtsp://10.0.0.9/live")  # under the same name, in the web UI
    save_run(file, [DOOR], DOOR)
    save_run(file, [], replaced)
    assert initial(file) == {"door": replaced}


def test_a_configured_camera_removed_in_the_web_ui_is_read_after_a_restart(
    tmp_path: Path,
) -> None:
    file = tmp_path / "camera-state.json"
    save_run(file, [DOOR], YARD)
    assert initial(file, DOOR) == {"door": DOOR, "yard": YARD}


def test_a_configured_camera_keeps_its_name_from_the_web_ui(tmp_path: Path) -> None:
    file = tmp_path / "camera-state.json"
    front = DOOR.model_copy(update={"name": "front"})
    save_run(file, [DOOR], front)
    assert initial(file, DOOR) == {"front": front}
    turned = DOOR.model_copy(update={"rotate": 90})
    assert initial(file, turned) == {"door": turned}, "not read twice"


def test_a_new_configuration_wins_over_a_camera_of_the_web_ui(tmp_path: Path) -> None:
    file = tmp_path / "camera-state.json"
    save_run(file, [], DOOR)
    blurred = DOOR.model_copy(update={"privacy": "blur"})
    assert initial(file, blurred) == {"door": blurred}
    entrance = DOOR.model_copy(update={"name": "entrance"})
    assert initial(file, entrance) == {"door": DOOR, "entrance": entrance}


def test_a_formerly_configured_camera_added_in_the_web_ui_is_restored(tmp_path: Path) -> None:
    file = tmp_path / "camera-state.json"
    save_run(file, [DOOR], DOOR)
    later = CameraStore(file, [])
    later.save({})
    later.save({"door": DOOR})
    assert initial(file) == {"door": DOOR}


def test_the_file_has_mode_0600_and_is_written_only_after_a_change(
    tmp_path: Path,
) -> None:
    file = tmp_path / "camera-state.json"
    store = CameraStore(file, [])
    store.save({"door": DOOR})
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.unlink()
    store.save({"door": DOOR})
    assert not file.exists()
    store.save({"door": DOOR, "yard": YARD})
    assert file.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["camera-state.json"]


@pytest.mark.parametrize("text", ["", "[]", '{"cameras": [{"name": "x"}], "configured": []}', "{"])
def test_a_corrupt_file_is_moved_aside_and_logged_without_secrets(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "camera-state.json"
    file.write_text(text)
    assert initial(file, DOOR) == {"door": DOOR}
    assert "cannot parse" in caplog.text
    assert (tmp_path / "camera-state.json.corrupt").read_text() == text
    save_run(file, [], YARD)
    assert initial(file) == {"yard": YARD}


def test_a_folder_that_cannot_be_written_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    blocked = tmp_path / "file"
    blocked.write_text("")
    store = CameraStore(blocked / "camera-state.json", [])
    store.save({"door": DOOR})
    store.save({"door": DOOR})
    assert caplog.text.count("cannot write camera state") == 1
    assert "hunter2secret" not in caplog.text


@pytest.mark.parametrize("prefix", ["", "demo-"])
def test_the_file_of_version_0_1_0_is_read_and_renamed(tmp_path: Path, prefix: str) -> None:
    old, file = tmp_path / f"{prefix}cameras.json", tmp_path / f"{prefix}camera-state.json"
    plain = {camera.name: json.loads(camera.to_json()) for camera in (DOOR, YARD)}
    old.write_text(json.dumps({"cameras": list(plain.values()), "given": [plain["door"]]}))
    assert initial(file, DOOR) == {"door": DOOR, "yard": YARD}
    assert not old.exists()
    assert initial(file) == {"yard": YARD}, "the door is no longer configured"
    old.write_text("{}")
    assert initial(file) == {"yard": YARD}, "the new file wins"


def test_a_file_of_another_name_is_not_replaced_by_that_of_version_0_1_0(tmp_path: Path) -> None:
    (tmp_path / "cameras.json").write_text("{}")
    assert initial(tmp_path / "mine.json", DOOR) == {"door": DOOR}
    assert (tmp_path / "cameras.json").exists()


def test_the_privacy_mode_live_of_version_0_1_0_is_full(tmp_path: Path) -> None:
    file = tmp_path / "camera-state.json"
    yard = json.loads(YARD.to_json()) | {"privacy": "live"}
    file.write_text(json.dumps({"cameras": [yard], "given": []}))
    assert initial(file) == {"yard": YARD}
    assert YARD.privacy == "full"
