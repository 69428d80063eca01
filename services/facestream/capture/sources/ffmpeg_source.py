"""Open a camera with FFmpeg and yield decoded frames: RTSP, HTTP-MJPEG, files, webcams.

Failures raise `CameraError` with a reason for the user. Live cameras are decoded in one thread
without a reordering delay. Late packets are dropped (`catch_up`). A file is paced by its own
timestamps and looped, so that it behaves like a camera. Phone browsers are read by `phone_source`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

import av
import av.error
from av.container import InputContainer
from av.video.stream import VideoStream

from facestream.capture.sources.catch_up import CatchUp
from facestream.capture.sources.ffmpeg_open import open_camera, select_video_stream
from facestream.capture.sources.open_errors import (
    GENERIC_IO_ERROR,
    SINGLE_IMAGE,
    error_text,
)
from facestream.common.broker.messages import now_us
from facestream.common.cameras.models import Camera
from facestream.common.core.errors import CameraError
from facestream.common.core.frame_limits import MAX_SIDE_PX
from facestream.common.security.egress_policy import EgressPolicy
from facestream.common.vision.source_frame import (
    DISPLAYED_AS_DECODED,
    FrameGeometry,
    frame_geometry,
    sample_aspect_ratio,
)

_FALLBACK_FPS = 25.0
_MAX_FPS = 240.0  # more is an error of the container
# A longer step between two timestamps is a jump of the clock. Files with fewer frames may have
# longer steps: four times their frame interval.
_MAX_STEP_S = 2.0
_MAX_STEP_INTERVALS = 4.0
_NO_KEYFRAME_S = 10.0  # after damage; some cameras never send another keyframe
_SINGLE_IMAGE_FORMATS = ("_pipe", "image2")
_MAX_FILE_DELAY_S = 1.0  # a file further behind is not sped up: its clock is reset
_INVALID_PAUSE_S = 0.01  # a source that yields only errors does so without waiting


@dataclass(frozen=True, slots=True)
class SourceFrame:
    """A decoded frame and the time at which it was received.

    received_us: Unix time in microseconds, for messages. received_at: monotonic seconds, for all
    durations here, because the Unix time may be set at any moment. geometry: how to display the
    frame. is_corrupt: whether it is damaged, or depends on a damaged frame.
    """

    video: av.VideoFrame
    received_us: int
    received_at: float
    geometry: FrameGeometry = DISPLAYED_AS_DECODED
    is_corrupt: bool = False


def read_frames(
    camera: Camera,
    stop: threading.Event,
    *,
    egress_policy: EgressPolicy,
    open_timeout_s: float,
    read_timeout_s: float,
    on_invalid: Callable[[], None],
    on_stale: Callable[[], None],
) -> Iterator[SourceFrame]:
    """Open a camera and yield its frames until the stream ends or `stop` is set.

    Args:
        camera: to read.
        stop: ends the iteration at the next frame.
        egress_policy: addresses that the camera may have; checked at each connection.
        open_timeout_s: time limit for opening.
        read_timeout_s: time limit for the next packet, and for the next frame that decodes.
        on_invalid: called for each packet or frame that cannot be used.
        on_stale: called for each packet that is dropped to catch up with the camera.

    Raises:
        CameraError: the camera cannot be opened or read; the message is a reason for the user.
    """
    is_file = camera.scheme == "file"
    forced_format: str | None = None
    while not stop.is_set():
        with open_camera(
            camera, egress_policy, open_timeout_s, read_timeout_s, forced_format
        ) as container:
            stream = select_video_stream(container, is_live=not is_file)
            # FFmpeg makes up the timestamps of HTTP, and local sources do not queue packets.
            on_late = on_stale if camera.scheme in ("rtsp", "rtsps") else None
            frames = _decode(camera, container, stream, stop, read_timeout_s, on_invalid, on_late)
            if is_file:
                yield from _realtime(frames, stream, stop)
            elif container.format.name.endswith(_SINGLE_IMAGE_FORMATS):
                yield from _reject_single_image(frames)
            else:
                try:
                    yield from frames
                except _MultipartError:
                    forced_format = "mjpeg"
                    continue
        if not is_file and not stop.is_set():
            raise CameraError("the camera closed the stream")


def _decode(
    camera: Camera,
    container: InputContainer,
    stream: VideoStream,
    stop: threading.Event,
    read_timeout_s: float,
    on_invalid: Callable[[], None],
    on_late: Callable[[], None] | None,
) -> Iterator[SourceFrame]:
    catch_up = CatchUp()
    damage = _Damage()
    frame_count = 0
    last_decoded_at = time.monotonic()
    time_base_s = float(stream.time_base) if stream.time_base else None
    # Demux all streams: with the video stream alone, PyAV would skip audio packets without end.
    packets = container.demux()
    geometry = DISPLAYED_AS_DECODED
    known_shape: tuple[float, ...] | None = None
    while not stop.is_set():
        requested_at = time.monotonic()
        try:
            packet = next(packets)
        except (StopIteration, av.error.EOFError):
            return
        except av.error.InvalidDataError:
            if container.format.name == "mpjpeg" and not frame_count:
                raise _MultipartError from None
            on_invalid()
            _check_decode_timeout(last_decoded_at, read_timeout_s)
            # A generator that has raised is exhausted, so reading continues with a new one.
            packets = container.demux()
            time.sleep(_INVALID_PAUSE_S)
            continue
        except (av.error.ExitError, av.error.TimeoutError):
            raise CameraError(f"no data for {read_timeout_s:g} s") from None
        except (OSError, av.FFmpegError) as error:
            detail = "" if error_text(error) == GENERIC_IO_ERROR else f": {error_text(error)}"
            raise CameraError(f"connection lost{detail}") from None
        if packet.stream.index != stream.index:  # `stream_index` is 0 for flush packets
            _check_decode_timeout(last_decoded_at, read_timeout_s)
            continue
        received_us, received_at = now_us(), time.monotonic()
        if on_late is not None and catch_up.should_drop(
            _pts_s(packet, time_base_s),
            packet.is_keyframe,
            received_at,
            received_at - requested_at,
        ):
            on_late()
            last_decoded_at = received_at
            continue
        try:
            frames = packet.decode()
        except av.FFmpegError:
            on_invalid()
            damage.begin(received_at)
            frames = []
        for frame in frames:
            if not _is_usable(frame):
                on_invalid()
                continue
            is_corrupt = damage.affects(frame, received_at)
            if is_corrupt:
                on_invalid()
            aspect = camera.pixel_aspect or sample_aspect_ratio(stream)
            shape = (frame.width, frame.height, frame.rotation, frame.interlaced_frame, aspect)
            # Only when it changes: a frame whose side data was read is part of a reference cycle,
            # so its buffer is not reused, which costs 5 ms of CPU per 720p frame.
            if shape != known_shape:
                known_shape = shape
                geometry = frame_geometry(
                    frame, aspect, rotate=camera.rotate, deinterlace=camera.deinterlace
                )
            frame_count += 1
            yield SourceFrame(frame, received_us, received_at, geometry, is_corrupt)
            last_decoded_at = time.monotonic()  # the consumer may have taken long
        if not frames:
            _check_decode_timeout(last_decoded_at, read_timeout_s)


class _MultipartError(Exception):
    """FFmpeg's `mpjpeg` refuses the part headers of the stream.

    Browsers accept nearly all. `mjpeg` searches for JPEGs instead of headers, but a frame is
    complete only when the next one begins, so `mpjpeg` is tried first.
    """


def _reject_single_image(frames: Iterator[SourceFrame]) -> Iterator[SourceFrame]:
    """Yield the frames of a sequence of images; explain the end if there is only one."""
    frame_count = 0
    try:
        for frame in frames:
            frame_count += 1
            yield frame
    except CameraError:
        if frame_count > 1:
            raise
    if frame_count <= 1:
        raise CameraError(SINGLE_IMAGE)


class _Damage:
    """Damage of a stream: from a corrupt frame to the next keyframe, which depends on none."""

    def __init__(self) -> None:
        self._since: float | None = None

    def begin(self, now: float) -> None:
        """Mark the frames from now on as damaged, until the next keyframe."""
        if self._since is None:
            self._since = now

    def affects(self, frame: av.VideoFrame, now: float) -> bool:
        """Return whether a frame is damaged or depends on a damaged one."""
        if frame.is_corrupt:
            self._since = now
            return True
        if self._since is not None and (frame.key_frame or now - self._since > _NO_KEYFRAME_S):
            self._since = None
        return self._since is not None


def _pts_s(packet: av.Packet[Any], time_base_s: float | None) -> float | None:
    timestamp = packet.pts if packet.dts is None else packet.dts
    return None if timestamp is None or time_base_s is None else timestamp * time_base_s


def _is_usable(frame: object) -> TypeGuard[av.VideoFrame]:
    return isinstance(frame, av.VideoFrame) and (
        1 < frame.width <= MAX_SIDE_PX and 1 < frame.height <= MAX_SIDE_PX
    )


def _check_decode_timeout(last_decoded_at: float, read_timeout_s: float) -> None:
    if time.monotonic() - last_decoded_at > read_timeout_s:
        raise CameraError(f"data arrives, but no frame could be decoded for {read_timeout_s:g} s")


def _realtime(
    frames: Iterator[SourceFrame], stream: VideoStream, stop: threading.Event
) -> Iterator[SourceFrame]:
    """Yield the frames of a file at the pace of its timestamps.

    A step back or a long step forward is a jump of the clock and counts as one frame interval.
    """
    fps = float(stream.average_rate or 0)
    frame_interval_s = 1.0 / (fps if 0 < fps <= _MAX_FPS else _FALLBACK_FPS)
    max_step_s = max(_MAX_STEP_S, _MAX_STEP_INTERVALS * frame_interval_s)
    clock_start: float | None = None
    media_s = -frame_interval_s
    frame_count = 0
    last_timestamp_s: float | None = None
    for frame in frames:
        timestamp_s = frame.video.time
        step_s = frame_interval_s
        if timestamp_s is not None and last_timestamp_s is not None:
            step_s = timestamp_s - last_timestamp_s
        last_timestamp_s = timestamp_s
        media_s += step_s if 1 / _MAX_FPS / 2 < step_s <= max_step_s else frame_interval_s
        if clock_start is None or time.monotonic() - (clock_start + media_s) > _MAX_FILE_DELAY_S:
            clock_start = time.monotonic() - media_s
        if stop.wait(max(0.0, clock_start + media_s - time.monotonic())):
            return
        frame_count += 1
        yield replace(frame, received_us=now_us(), received_at=time.monotonic())
    if not frame_count:
        raise CameraError("the file contains no frame that can be decoded")
    stop.wait(frame_interval_s)
