"""Open a camera with FFmpeg and yield decoded frames: RTSP, HTTP-MJPEG, files, webcams.

Failures raise `CameraError` with a reason for the user. Live cameras are decoded in one thread
without a reordering delay. Late packets are dropped (`catch_up`). A file is paced by its own
timestamps and looped, so that it behaves like a camera. Phone browsers are read by `phone_source`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard
from urllib.parse import urlsplit

import av
import av.error
from av.codec.context import Flags, ThreadType
from av.container import InputContainer
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from facestream.capture.sources.catch_up import CatchUp
from facestream.capture.sources.ffmpeg_options import BOUNDED, MAX_PIXELS, ffmpeg_open_args
from facestream.capture.sources.open_errors import (
    DEFAULT_PORTS,
    GENERIC_IO_ERROR,
    describe_open_error,
    error_text,
)
from facestream.common.broker.messages import (
    now_us,
)
from facestream.common.cameras.models import Camera
from facestream.common.core.errors import AddressError, CameraError
from facestream.common.core.frame_limits import MAX_SIDE_PX
from facestream.common.security.egress_policy import EgressPolicy

_FALLBACK_FPS = 25.0
_MAX_FILE_DELAY_S = 1.0  # a file further behind is not sped up: its clock is reset
_INVALID_PAUSE_S = 0.01  # a source that yields only errors does so without waiting
_MAX_ADDRESSES = 4  # of a host name that are tried


@dataclass(frozen=True, slots=True)
class SourceFrame:
    """A decoded frame and the time at which it was received.

    received_us: Unix time in microseconds, for messages. received_at: monotonic seconds, for all
    durations here, because the Unix time may be set at any moment.
    """

    video: av.VideoFrame
    received_us: int
    received_at: float


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
    while not stop.is_set():
        with _open(camera, egress_policy, open_timeout_s, read_timeout_s) as container:
            stream = _video_stream(container, is_live=not is_file)
            # FFmpeg makes up the timestamps of HTTP, and local sources do not queue packets.
            on_late = on_stale if camera.scheme in ("rtsp", "rtsps") else None
            frames = _decode(container, stream, stop, read_timeout_s, on_invalid, on_late)
            yield from _realtime(frames, stream, stop) if is_file else frames
        if not is_file and not stop.is_set():
            raise CameraError("the camera closed the stream")


def _open(
    camera: Camera, egress_policy: EgressPolicy, open_timeout_s: float, read_timeout_s: float
) -> InputContainer:
    """Open the first address of the camera that accepts; all share `open_timeout_s`."""
    *others, last = _allowed_addresses(camera, egress_policy)
    timeout_s = open_timeout_s / (1 + len(others))
    for address in others:
        try:
            return _open_address(camera, address, timeout_s, read_timeout_s)
        except CameraError:
            continue  # often a server listens on one address of a host name only
    return _open_address(camera, last, timeout_s, read_timeout_s)


def _open_address(
    camera: Camera, address: str | None, open_timeout_s: float, read_timeout_s: float
) -> InputContainer:
    # FFmpeg has one limit for opening and reading. PyAV's limits below are the effective ones.
    io_timeout_s = max(open_timeout_s, read_timeout_s)
    url, container_format, options = ffmpeg_open_args(camera, address, io_timeout_s)
    started_at = time.monotonic()
    try:
        return av.open(
            url,
            mode="r",
            format=container_format,
            options=options | BOUNDED,  # for decoders that FFmpeg uses while it opens the stream
            timeout=(open_timeout_s, read_timeout_s),
        )
    except (OSError, ValueError, av.FFmpegError) as error:
        elapsed_s = time.monotonic() - started_at
        raise CameraError(
            describe_open_error(camera, address, error, elapsed_s, open_timeout_s)
        ) from None


def _allowed_addresses(camera: Camera, egress_policy: EgressPolicy) -> Sequence[str | None]:
    """Return the addresses to connect to, best first; None where FFmpeg may resolve the name."""
    if egress_policy.allows_all or camera.is_local:
        return (None,)
    parts = urlsplit(camera.url.get_secret_value())
    port = parts.port or DEFAULT_PORTS[parts.scheme]
    try:
        return egress_policy.resolve_allowed(str(parts.hostname), port)[:_MAX_ADDRESSES]
    except AddressError as error:
        raise CameraError(str(error)) from None


def _video_stream(container: InputContainer, *, is_live: bool) -> VideoStream:
    if not container.streams.video:
        kinds = sorted({stream.type for stream in container.streams})
        suffix = f", only {' and '.join(kinds)}" if kinds else ""
        raise CameraError(f"the stream has no video{suffix}")
    stream = container.streams.video[0]
    context: VideoCodecContext | None = stream.codec_context
    if context is None:
        raise CameraError("unsupported video codec; choose H.264 in the camera")
    if context.width * context.height > MAX_PIXELS:
        raise CameraError(
            f"frames of {context.width}×{context.height} exceed {MAX_PIXELS / 1e6:.1f} megapixels; "
            "choose a lower resolution in the camera"
        )
    # A second thread would delay every frame until the next one arrives.
    context.thread_count = 1
    context.thread_type = ThreadType.NONE
    context.options = dict(BOUNDED)
    if is_live:
        context.flags |= Flags.low_delay
    return stream


def _decode(
    container: InputContainer,
    stream: VideoStream,
    stop: threading.Event,
    read_timeout_s: float,
    on_invalid: Callable[[], None],
    on_late: Callable[[], None] | None,
) -> Iterator[SourceFrame]:
    catch_up = CatchUp()
    last_decoded_at = time.monotonic()
    time_base_s = float(stream.time_base) if stream.time_base else None
    # Demux all streams: with the video stream alone, PyAV would skip audio packets without end.
    packets = container.demux()
    while not stop.is_set():
        try:
            packet = next(packets)
        except (StopIteration, av.error.EOFError):
            return
        except av.error.InvalidDataError:
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
            _pts_s(packet, time_base_s), packet.is_keyframe, received_at
        ):
            on_late()
            last_decoded_at = received_at
            continue
        try:
            frames = packet.decode()
        except av.FFmpegError:
            on_invalid()
            frames = []
        for frame in frames:
            if not _is_usable(frame):
                on_invalid()
                continue
            yield SourceFrame(frame, received_us, received_at)
            last_decoded_at = time.monotonic()  # the consumer may have taken long
        if not frames:
            _check_decode_timeout(last_decoded_at, read_timeout_s)


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
    """Yield the frames of a file at the pace of its timestamps."""
    frame_interval_s = 1.0 / float(stream.average_rate or _FALLBACK_FPS)
    clock_start: float | None = None
    media_s = -frame_interval_s
    frame_count = 0
    for frame in frames:
        timestamp_s = frame.video.time
        media_s = media_s + frame_interval_s if timestamp_s is None else timestamp_s
        if clock_start is None or time.monotonic() - (clock_start + media_s) > _MAX_FILE_DELAY_S:
            clock_start = time.monotonic() - media_s
        if stop.wait(max(0.0, clock_start + media_s - time.monotonic())):
            return
        frame_count += 1
        yield SourceFrame(frame.video, now_us(), time.monotonic())
    if not frame_count:
        raise CameraError("the file contains no frame that can be decoded")
    stop.wait(frame_interval_s)
