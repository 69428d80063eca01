"""Display geometry of a decoded frame: rotation, mirroring, pixel aspect, interlacing. No I/O.

Decoders return frames as they are stored. Phones store video sideways with a rotation (container,
EXIF, H.264 or HEVC SEI), recorders store non-square pixels, and old cameras weave two fields. A
detector needs the frame as a player shows it, so live cameras and files share these rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import av
import numpy as np
from av.sidedata.sidedata import Type as SideDataType
from av.video.stream import VideoStream
from numpy.typing import NDArray

from facestream.common.core.frame_limits import MAX_PIXEL_ASPECT, MAX_SIDE_PX, Rotation

_ROTATIONS: tuple[Rotation, ...] = (0, 90, 180, 270)
_SQUARE_TOLERANCE = 0.01  # an aspect this near to 1 is not worth a resize
# JFIF stores a print density, which cameras fill with any numbers; browsers ignore it.
_CODECS_WITHOUT_ASPECT = ("mjpeg",)


@dataclass(frozen=True, slots=True)
class FrameGeometry:
    """How to display a decoded frame; the default is a frame that is displayed as decoded.

    rotate: degrees clockwise. is_mirrored: whether to flip it horizontally, before the rotation.
    pixel_aspect: width of a pixel divided by its height, before the rotation. is_interlaced:
    whether even and odd rows are two fields, taken at different times.
    """

    rotate: Rotation = 0
    is_mirrored: bool = False
    pixel_aspect: float = 1.0
    is_interlaced: bool = False

    def stored_size(self, width: int, height: int) -> tuple[int, int]:
        """Return width and height with square pixels, before the rotation.

        The squeezed side is stretched, so that no detail is lost. Beyond `MAX_SIDE_PX` the other
        side is shrunk instead. Scaled sides are even.
        """
        aspect = self.pixel_aspect
        if abs(aspect - 1) < _SQUARE_TOLERANCE:
            return width, height
        stretched = (width * aspect, height) if aspect > 1 else (width, height / aspect)
        if max(stretched) > MAX_SIDE_PX:
            stretched = (width, height / aspect) if aspect > 1 else (width * aspect, height)
        return _round_unequal(stretched[0], width), _round_unequal(stretched[1], height)

    def display_size(self, width: int, height: int) -> tuple[int, int]:
        """Return width and height of the displayed frame for those of the decoded frame."""
        size = self.stored_size(width, height)
        return size[::-1] if self.rotate in (90, 270) else size


DISPLAYED_AS_DECODED = FrameGeometry()


def frame_geometry(
    frame: av.VideoFrame,
    sample_aspect_ratio: float = 1.0,
    *,
    rotate: Rotation = 0,
    deinterlace: bool = False,
) -> FrameGeometry:
    """Return the display geometry of a decoded frame.

    Args:
        frame: as decoded; its display matrix holds the rotation of container, EXIF or SEI.
        sample_aspect_ratio: of the stream, or what the user set instead.
        rotate: degrees clockwise that the user adds.
        deinterlace: whether the frame is interlaced although it is not flagged.
    """
    counterclockwise, is_mirrored = frame.rotation, False
    matrix = _display_matrix(frame)
    if matrix is not None and matrix[0] * matrix[4] < matrix[1] * matrix[3]:
        # FFmpeg's rotation is undefined for a mirrored matrix: undo a horizontal flip first.
        is_mirrored = True
        counterclockwise = round(float(np.degrees(np.arctan2(matrix[1], -matrix[0]))))
    clockwise = round((rotate - counterclockwise) / 90) % 4
    return FrameGeometry(
        _ROTATIONS[clockwise],
        is_mirrored,
        sample_aspect_ratio,
        deinterlace or frame.interlaced_frame,
    )


def sample_aspect_ratio(stream: VideoStream) -> float:
    """Return the aspect ratio of a stream's pixels; 1 if it is unknown or absurd.

    Of live streams it is known only after the first frame is decoded.
    """
    context = stream.codec_context
    if context is None or context.name in _CODECS_WITHOUT_ASPECT:
        return 1.0
    ratio = stream.sample_aspect_ratio or context.sample_aspect_ratio
    if stream.sample_aspect_ratio == 1 and context.sample_aspect_ratio:
        ratio = context.sample_aspect_ratio
    if not ratio or not 1 / MAX_PIXEL_ASPECT <= ratio <= MAX_PIXEL_ASPECT:
        return 1.0
    return float(ratio)


def _display_matrix(frame: av.VideoFrame) -> NDArray[np.int64] | None:
    try:
        side_data: Any = frame.side_data.get(SideDataType.DISPLAYMATRIX)  # type: ignore[call-overload]
    except ValueError:  # PyAV does not know every type, such as EXIF
        return None
    return None if side_data is None else np.frombuffer(side_data, "<i4").astype(np.int64)


def _round_unequal(length: float, stored: int) -> int:
    """Return an even length, or the stored length if it is not scaled."""
    return stored if length == stored else max(2, round(length / 2) * 2)
