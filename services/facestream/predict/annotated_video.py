"""Write an annotated H.264 copy of a video, drawn as the live view draws frames."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from facestream.common.vision.displayed_estimate import DisplayedEstimate
from facestream.common.vision.overlay import bgr_to_yuv_image, build_label, draw_labels
from facestream.common.vision.tracker import Box

_TIME_BASE = Fraction(1, 90_000)
_OPTIONS = {"preset": "veryfast", "crf": "21"}


class AnnotatedVideo:
    """MP4 file that is written frame by frame; close it with `with`.

    Args:
        path: the file; its folder is created.

    Raises:
        OSError: the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._output = av.open(str(path), "w", format="mp4")
        self._stream: av.VideoStream | None = None
        self._last_stamp = -1

    def __enter__(self) -> AnnotatedVideo:
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream is not None:
            self._output.mux(self._stream.encode(None))
        self._output.close()

    def write(
        self,
        image: NDArray[np.uint8],
        time_s: Fraction,
        labels: Sequence[tuple[Box, DisplayedEstimate]],
    ) -> None:
        """Draw the labels on a BGR image and append it at a time; all images have one size."""
        if self._stream is None:
            self._stream = self._add_stream(image)
        width, height = self._stream.width, self._stream.height
        fitting = image[:height, :width]
        if fitting.shape[:2] != (height, width):  # the size changed within the video
            fitting = np.zeros((height, width, 3), np.uint8)
            part = image[:height, :width]
            fitting[: part.shape[0], : part.shape[1]] = part
        planes = bgr_to_yuv_image(fitting)
        draw_labels(planes, [build_label(box, estimate) for box, estimate in labels])
        stacked = np.concatenate([plane.reshape(-1) for plane in (planes.y, planes.u, planes.v)])
        frame = av.VideoFrame.from_ndarray(stacked.reshape(height * 3 // 2, width), "yuvj420p")
        self._last_stamp = max(self._last_stamp + 1, round(time_s / _TIME_BASE))
        frame.pts, frame.time_base = self._last_stamp, _TIME_BASE
        self._output.mux(self._stream.encode(frame))

    def _add_stream(self, image: NDArray[np.uint8]) -> av.VideoStream:
        stream = self._output.add_stream("libx264", rate=25, options=_OPTIONS)
        stream.height, stream.width = (max(2, side // 2 * 2) for side in image.shape[:2])
        stream.pix_fmt = "yuvj420p"
        stream.codec_context.time_base = _TIME_BASE
        return stream
