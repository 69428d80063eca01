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

VISIT = Appearance("obama", 2.0, 8.0, 0.5, 0.5, True, 1.2)


def at_times() -> list[float]:
    return [i / FPS for i in range(round(LENGTH_S * FPS))]


def in_view(at_s: float) -> int:
    return sum(clip_renderer.place(visit, at_s) is not None for visit in SCRIPT)


def test_a_visitor_walks_in_stays_and_walks_on() -> None:
    assert clip_renderer.place(VISIT, 1.9) is None
    assert clip_renderer.place(VISIT, 8.1) is None
    xs = [clip_renderer.place(VISIT, t) for t in (2.0, 3.0, 5.0, 7.0, 8.0)]
    assert all(x is not None for x in xs)
    places = [x[0] for x in xs if x is not None]
    assert places == sorted(places)
    assert places[0] < 0
    assert places[2] == WIDTH / 2
    assert places[-1] > WIDTH


def test_a_visitor_who_returns_leaves_where_they_came_in() -> None:
    visit = replace(VISIT, returns=True)
    xs = [clip_renderer.place(visit, t) for t in (2.0, 3.0, 5.0, 7.0, 8.0)]
    places = [x[0] for x in xs if x is not None]
    assert places[0] < 0
    assert places[0] < places[1] < places[2] == WIDTH / 2
    assert places[3:] == pytest.approx(places[1::-1], abs=WIDTH / 20)  # the zoom is theirs


def test_nobody_walks_across_another() -> None:
    for at_s in at_times():
        found = [(visit, clip_renderer.place(visit, at_s)) for visit in SCRIPT]
        there = sorted((where[0], visit.x) for visit, where in found if where is not None)
        assert [x for _, x in there] == sorted(x for _, x in there), at_s


def test_a_visitor_never_leaps() -> None:
    for visit in SCRIPT:
        xs = [where[0] for t in at_times() if (where := clip_renderer.place(visit, t)) is not None]
        assert max(abs(a - b) for a, b in itertools.pairwise(xs)) < WIDTH / 8


def test_the_hand_is_steady_where_the_clip_starts_over() -> None:
    first, last = clip_renderer.hand_shake(0.0), clip_renderer.hand_shake(LENGTH_S)
    assert last == pytest.approx(first, abs=1e-6)


def test_there_is_nobody_somebody_and_everybody() -> None:
    seen = {in_view(t) for t in at_times()}
    assert {0, 1, 2, 4} <= seen
    assert len({visit.sample for visit in SCRIPT}) >= 4


def test_the_clip_ends_as_it_begins_without_anybody() -> None:
    assert in_view(0.0) == 0
    assert in_view(LENGTH_S - 1 / FPS) == 0


def test_all_four_faces_are_found_when_all_are_there() -> None:
    picture = clip_renderer._Scene(SAMPLES_DIR).draw(19.5)
    small = np.zeros((384, 640, 3), np.uint8)
    small[:360] = cv2.resize(picture, (640, 360), interpolation=cv2.INTER_AREA)
    faces = FaceDetector().detect(small)
    assert len(faces) == 4
    assert float(faces.boxes[:, 2].min()) * WIDTH / 640 > 60


def test_the_clip_is_what_a_phone_sends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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

    clip_renderer.ensure_clip(tmp_path, lambda share: pytest.fail("drawn a second time"))


def test_a_missing_sample_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"astronaut.jpg: missing"):
        clip_renderer.ensure_clip(tmp_path, lambda share: None, samples=tmp_path)


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match="cannot keep the demo clip: "):
        clip_renderer.ensure_clip(tmp_path / "file" / "cache", lambda share: None)
