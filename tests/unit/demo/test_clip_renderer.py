from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from facestream.common.core.errors import ImageError, StartError
from facestream.common.core.paths import SAMPLES_DIR
from facestream.common.vision.face_detector import FaceDetector
from facestream.demo import clip_renderer
from facestream.demo.clip_renderer import FPS, HEIGHT, LENGTH_S, SCRIPT, WIDTH, Appearance

APPEARANCE = Appearance("obama", 2.0, 8.0, 0.5, 0.5, True, 1.2)


def at_times() -> list[float]:
    return [i / FPS for i in range(round(LENGTH_S * FPS))]


def in_view(at_s: float) -> int:
    return sum(clip_renderer.photo_position(appearance, at_s) is not None for appearance in SCRIPT)


def test_person_walks_in_stays_and_walks_out() -> None:
    assert clip_renderer.photo_position(APPEARANCE, 1.9) is None
    assert clip_renderer.photo_position(APPEARANCE, 8.1) is None
    xs = [clip_renderer.photo_position(APPEARANCE, t) for t in (2.0, 3.0, 5.0, 7.0, 8.0)]
    assert all(x is not None for x in xs)
    positions = [x[0] for x in xs if x is not None]
    assert positions == sorted(positions)
    assert positions[0] < 0
    assert positions[2] == WIDTH / 2
    assert positions[-1] > WIDTH


def test_returning_person_leaves_on_the_side_of_entry() -> None:
    appearance = replace(APPEARANCE, returns=True)
    xs = [clip_renderer.photo_position(appearance, t) for t in (2.0, 3.0, 5.0, 7.0, 8.0)]
    positions = [x[0] for x in xs if x is not None]
    assert positions[0] < 0
    assert positions[0] < positions[1] < positions[2] == WIDTH / 2
    assert positions[3:] == pytest.approx(positions[1::-1], abs=WIDTH / 20)  # the zoom moves them


def test_paths_never_cross() -> None:
    for at_s in at_times():
        found = [
            (appearance, clip_renderer.photo_position(appearance, at_s)) for appearance in SCRIPT
        ]
        there = sorted(
            (position[0], appearance.x) for appearance, position in found if position is not None
        )
        assert [x for _, x in there] == sorted(x for _, x in there), at_s


def test_movement_has_no_jumps() -> None:
    for appearance in SCRIPT:
        xs = [
            position[0]
            for t in at_times()
            if (position := clip_renderer.photo_position(appearance, t)) is not None
        ]
        assert max(abs(a - b) for a, b in itertools.pairwise(xs)) < WIDTH / 8


def test_camera_shake_has_no_jump_at_the_loop() -> None:
    first, last = clip_renderer.camera_shake(0.0), clip_renderer.camera_shake(LENGTH_S)
    assert last == pytest.approx(first, abs=1e-6)


def test_number_of_people_in_view_varies() -> None:
    seen = {in_view(t) for t in at_times()}
    assert {0, 1, 2, 4} <= seen
    assert len({appearance.sample for appearance in SCRIPT}) >= 4


def test_clip_starts_and_ends_empty() -> None:
    assert in_view(0.0) == 0
    assert in_view(LENGTH_S - 1 / FPS) == 0


def test_all_four_faces_are_detected() -> None:
    frame = clip_renderer._Scene(SAMPLES_DIR).draw(19.5)
    small = np.zeros((384, 640, 3), np.uint8)
    small[:360] = cv2.resize(frame, (640, 360), interpolation=cv2.INTER_AREA)
    faces = FaceDetector().detect(small)
    assert len(faces) == 4
    assert float(faces.boxes[:, 2].min()) * WIDTH / 640 > 60


def test_clip_has_the_format_of_a_phone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clip_renderer, "LENGTH_S", 2.0)
    shares: list[float] = []
    path = clip_renderer.ensure_clip(tmp_path, shares.append)
    assert shares[-1] == 1.0
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.average_rate == FPS
        assert (stream.codec_context.width, stream.codec_context.height) == (WIDTH, HEIGHT)
        assert not stream.codec_context.has_b_frames
        keys = [i for i, p in enumerate(container.demux(stream)) if p.size and p.is_keyframe]
    assert keys == [0, FPS]

    clip_renderer.ensure_clip(tmp_path, lambda share: pytest.fail("rendered a second time"))


def test_missing_sample_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"astronaut.jpg: missing"):
        clip_renderer.ensure_clip(tmp_path, lambda share: None, samples=tmp_path)


def test_unwritable_cache_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match="cannot write the demo clip to "):
        clip_renderer.ensure_clip(tmp_path / "file" / "cache", lambda share: None)
