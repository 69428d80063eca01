"""The clips that the benchmark plays: any video, scaled, at 15 pictures a second, numbered.

Encoded as a phone does: H.264, no B-frames, a key picture each second.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from services.common.errors import PictureError
from tests.bench import timecode

FPS = 15
_QUALITY = "24"  # x264 CRF


def numbered_clip(source: Path, height_px: int, target: Path) -> int:
    """Write `source`, scaled to `height_px` and numbered, to `target`; returns its pictures.

    Raises:
        PictureError: the source cannot be read or is empty.
    """
    count = 0
    try:
        with av.open(str(target), "w") as output:
            stream = None
            for picture in _pictures(source, height_px):
                if stream is None:
                    stream = output.add_stream("libx264", rate=FPS)
                    stream.height, stream.width = picture.shape[:2]
                    stream.pix_fmt = "yuv420p"
                    stream.codec_context.time_base = Fraction(1, FPS)
                    stream.options = {
                        "preset": "veryfast",
                        "tune": "zerolatency",
                        "crf": _QUALITY,
                        "g": str(FPS),
                    }
                timecode.write(picture, count)
                frame = av.VideoFrame.from_ndarray(picture, "bgr24")
                frame.pts = count
                output.mux(stream.encode(frame))
                count += 1
                if count == timecode.LIMIT:
                    break
            if stream is None:
                raise PictureError(f"{source}: holds no picture")
            output.mux(stream.encode(None))
    except av.error.FFmpegError as error:
        raise PictureError(f"{source}: cannot be read as a video: {error.strerror}") from None
    return count


def _pictures(source: Path, height_px: int) -> Iterator[NDArray[np.uint8]]:
    """Pictures at `FPS`, scaled; repeated or left out where the source has another rate."""
    with av.open(str(source)) as container:
        stream = container.streams.video[0]
        due = 0
        for frame in container.decode(stream):
            picture = np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)
            width = round(picture.shape[1] * height_px / picture.shape[0] / 2) * 2
            if picture.shape[0] != height_px:
                picture = cv2.resize(picture, (width, height_px), interpolation=cv2.INTER_AREA)
            while due <= (frame.time or 0.0) * FPS + 1e-6:
                yield picture.copy()
                due += 1
