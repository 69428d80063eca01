"""Display geometry of decoded frames: rotation, mirroring, pixel aspect, interlacing."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from facestream.common.core.frame_limits import Rotation
from facestream.common.vision.source_frame import (
    FrameGeometry,
    frame_geometry,
    sample_aspect_ratio,
)


def _clip(file: Path, *, matrix: list[int] | None = None, aspect: Fraction = Fraction(1)) -> Path:
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 160, 180, "yuv420p"
        stream.codec_context.sample_aspect_ratio = aspect
        if matrix is not None:
            stream.set_display_matrix(matrix)
        for _ in range(5):
            image = np.zeros((180, 160, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "bgr24")))
        container.mux(stream.encode())
    return file


@pytest.mark.parametrize(
    ("geometry", "size"),
    [
        (FrameGeometry(), (160, 180)),
        (FrameGeometry(pixel_aspect=2.0), (320, 180)),
        (FrameGeometry(pixel_aspect=0.5), (160, 360)),
        (FrameGeometry(rotate=90, pixel_aspect=2.0), (180, 320)),
        (FrameGeometry(pixel_aspect=1.005), (160, 180)),
    ],
)
def test_displayed_frames_have_square_pixels(
    geometry: FrameGeometry, size: tuple[int, int]
) -> None:
    assert geometry.display_size(160, 180) == size


def test_a_displayed_frame_does_not_exceed_the_largest_side() -> None:
    assert FrameGeometry(pixel_aspect=2.0).display_size(5000, 2000) == (5000, 1000)


@pytest.mark.parametrize(("added", "total"), [(0, 90), (90, 180), (270, 0)])
def test_the_rotation_of_the_container_is_added(
    tmp_path: Path, added: Rotation, total: int
) -> None:
    one = 1 << 16
    file = _clip(tmp_path / "c.mp4", matrix=[0, one, 0, -one, 0, 0, 0, 0, 1 << 30])
    with av.open(str(file)) as container:
        frame = next(container.decode(video=0))
        assert frame_geometry(frame, rotate=added) == FrameGeometry(rotate=total)  # type: ignore[arg-type]


def test_a_mirrored_frame_is_recognized(tmp_path: Path) -> None:
    one = 1 << 16
    file = _clip(tmp_path / "c.mp4", matrix=[-one, 0, 0, 0, one, 0, 0, 0, 1 << 30])
    with av.open(str(file)) as container:
        frame = next(container.decode(video=0))
        assert frame_geometry(frame) == FrameGeometry(is_mirrored=True)


def test_the_sample_aspect_ratio_of_the_stream_is_read(tmp_path: Path) -> None:
    with av.open(str(_clip(tmp_path / "c.mp4", aspect=Fraction(2)))) as container:
        assert sample_aspect_ratio(container.streams.video[0]) == 2.0
