"""Read the frames of a video file or stream: upright, with square pixels and monotonic times.

The format is found by content. Timestamps may jump or start over: the time then continues by one
frame interval. Damage costs only the damaged frames and those that refer to them; it is counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import BinaryIO

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from facestream.common.core.errors import ImageError
from facestream.common.vision.source_frame import frame_geometry, sample_aspect_ratio

MAX_GAP_S = 60  # a larger step between two timestamps is a jump, not a pause
# A smaller step back is a frame out of order. Decoders put frames far out of order after damage.
MAX_REORDER_S = Fraction(1, 2)
_MAX_REORDER_AFTER_DAMAGE_S = Fraction(5)
_DEFAULT_FRAME_S = Fraction(1, 25)
# Frames that refer to a damaged one are damaged too, up to the next keyframe. Video with gradual
# refresh has no further keyframe: it is shown again after this time.
_MAX_RECOVERY_S = 5
_MAX_READ_ERRORS = 100  # in a row, after which the rest of the file counts as unreadable
_ROTATIONS = {
    90: cv2.ROTATE_90_CLOCKWISE,
    180: cv2.ROTATE_180,
    270: cv2.ROTATE_90_COUNTERCLOCKWISE,
}
# FFmpeg reads text as a terminal's screen, and play lists that name other files.
_REFUSED_FORMATS = {"tty", "hls", "concat", "dash", "imf", "sdp", "rtsp"}


class NotMediaError(ImageError):
    """The input is neither an image nor a video."""


@dataclass(frozen=True, slots=True)
class VideoFrame:
    """One frame. time_s: seconds after the first frame; image: BGR uint8 `[height, width, 3]`."""

    time_s: Fraction
    image: NDArray[np.uint8]


class MediaClock:
    """Time since the first frame, from timestamps that may jump, start over or be missing.

    Args:
        frame_s: seconds per frame, used where two timestamps have no plausible distance.
    """

    def __init__(self, frame_s: Fraction) -> None:
        self._frame_s = frame_s
        self._last_stamp: Fraction | None = None
        self._offset_s = Fraction(0)
        self._now_s: Fraction | None = None

    def advance(
        self, stamp_s: Fraction | None, max_reorder_s: Fraction = MAX_REORDER_S
    ) -> Fraction:
        """Return the time of a frame, in seconds after the first frame; it never decreases."""
        next_s = Fraction(0) if self._now_s is None else self._now_s + self._frame_s
        if stamp_s is None or stamp_s == self._last_stamp:
            self._now_s = next_s
            return next_s
        step_s = None if self._last_stamp is None else stamp_s - self._last_stamp
        if step_s is None or not -max_reorder_s < step_s <= MAX_GAP_S:
            self._offset_s = next_s - stamp_s
        self._now_s = max(self._now_s or Fraction(0), stamp_s + self._offset_s)
        self._last_stamp = stamp_s
        return self._now_s


class VideoReader:
    """Frames of one video.

    Args:
        file: binary file; it needs `seek` only for formats with an index at their end.
        name: for error messages.

    Attributes:
        damaged: number of damaged frames and packets so far.
        is_single_image: whether the input is a still image in a format that FFmpeg reads.
        duration_s: seconds as the container states them, or None.

    Raises:
        NotMediaError: not a video.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.damaged = 0
        self._name = name
        try:
            # Metadata, such as a title or a phone's vendor, need not be UTF-8. An input must not
            # make FFmpeg open other files or addresses, so no protocol is allowed.
            self._container = av.open(
                _Unnamed(file),
                "r",
                metadata_errors="replace",
                options={"protocol_whitelist": "none"},
            )
        except (av.error.FFmpegError, ValueError) as error:
            reason = error.strerror if isinstance(error, av.error.FFmpegError) else error
            raise NotMediaError(f"{name}: neither an image nor a video: {reason}") from None
        if not self._container.streams.video or self._container.format.name in _REFUSED_FORMATS:
            self._container.close()
            raise NotMediaError(f"{name}: contains no video stream")
        self._stream = self._container.streams.video[0]
        format_name = self._container.format.name
        self.is_single_image = format_name.endswith("_pipe") or format_name == "image2"
        duration = self._container.duration
        self.duration_s = None if duration is None else duration / av.time_base
        rate = self._stream.average_rate
        self.frame_s = 1 / Fraction(rate) if rate else _DEFAULT_FRAME_S

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()

    def frames(self, interval_s: float = 0.0) -> Iterator[VideoFrame]:
        """Yield frames `interval_s` seconds apart, or all for 0.

        Raises:
            ImageError: no frame can be decoded.
        """
        due_s = Fraction(0)
        for time_s, frame in self._intact_frames():
            if time_s >= due_s:
                due_s = time_s + Fraction(interval_s).limit_denominator(1_000_000)
                yield VideoFrame(time_s, self._to_upright_bgr(frame))

    def _intact_frames(self) -> Iterator[tuple[Fraction, av.VideoFrame]]:
        """Yield the frames that are not damaged, with their times."""
        clock, decoded = MediaClock(self.frame_s), 0
        damaged_at: Fraction | None = None
        errors = self.damaged
        for frame in self._decode():
            stamp = None if frame.pts is None else frame.pts * Fraction(frame.time_base or 0)
            reorder_s = _MAX_REORDER_AFTER_DAMAGE_S if self.damaged else MAX_REORDER_S
            time_s = clock.advance(stamp, reorder_s)
            if frame.is_corrupt or self.damaged > errors:
                damaged_at = time_s
            errors = self.damaged
            if damaged_at is not None:
                is_recovered = frame.key_frame or time_s - damaged_at > _MAX_RECOVERY_S
                if frame.is_corrupt or not is_recovered:
                    self.damaged, errors = self.damaged + 1, errors + 1
                    continue
                damaged_at = None
            decoded += 1
            yield time_s, frame
        if not decoded:
            raise ImageError(f"{self._name}: cannot be read as a video: no intact frame")

    def _decode(self) -> Iterator[av.VideoFrame]:
        """Yield decoded frames; count packets that cannot be read or decoded."""
        read_errors = 0
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except (av.error.FFmpegError, ValueError):
                self.damaged += 1
                read_errors += 1
                if read_errors >= _MAX_READ_ERRORS:
                    return
                packets = self._container.demux(self._stream)  # goes on after the error
                continue
            read_errors = 0
            try:
                yield from packet.decode()
            except (av.error.FFmpegError, ValueError):
                self.damaged += 1

    def _to_upright_bgr(self, frame: av.VideoFrame) -> NDArray[np.uint8]:
        """Return the frame with square pixels, rotated as its metadata says."""
        image = np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)
        geometry = frame_geometry(frame, sample_aspect_ratio(self._stream))
        height, width = image.shape[:2]
        size = geometry.stored_size(width, height)
        if size != (width, height):
            image = np.asarray(cv2.resize(image, size), np.uint8)
        if geometry.is_mirrored:
            image = np.asarray(cv2.flip(image, 1), np.uint8)
        if geometry.rotate == 0:
            return image
        return np.asarray(cv2.rotate(image, _ROTATIONS[geometry.rotate]), np.uint8)


class _Unnamed:
    """File without a name: FFmpeg would otherwise guess the format by its suffix."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def __getattr__(self, attribute: str) -> object:
        if attribute == "name":
            raise AttributeError(attribute)
        return getattr(self._file, attribute)
