"""Opens a camera and yields its frames as they come: RTSP, HTTP-MJPEG, files, webcams.
(Phones that send by their browser: `phone.py`.)

A `Camera` goes in; decoded frames with the moment they were received come out, or `CameraError`
with a reason in plain words. Live cameras are read with FFmpeg's low-latency options and decoded in
one thread without reordering delay: measured, the default options start 1.9 s late and stay late.
A file is paced by its own time stamps and looped, so that it behaves like a camera.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import av
import av.error
from av.codec.context import Flags, ThreadType
from av.container import InputContainer
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from facestream.capture.sources.catch_up import CatchUp
from facestream.capture.sources.open_errors import (
    DEFAULT_PORTS,
    GENERIC_IO_ERROR,
    describe_open_error,
    error_text,
)
from facestream.common.broker.messages import MAX_SIDE_PX, now_us
from facestream.common.cameras.models import Camera
from facestream.common.core.errors import AddressError, CameraError
from facestream.common.security.egress_policy import EgressPolicy

MAX_PIXELS = 4096 * 4096  # of a picture; the decoder refuses a larger one before it takes memory

# What the stream is, its first key frame tells the decoder. FFmpeg must not study it before: it
# would do so for a second, and with `nobuffer` even throw the first key frame away.
_NO_ANALYSIS = {"analyzeduration": "1", "fpsprobesize": "0"}
_BOUNDED = {"max_pixels": str(MAX_PIXELS)}
_RTSP_PROBE_BYTES = 32  # the format is known; the least that FFmpeg takes
_HTTP_PROBE_BYTES = 500_000
_UDP_REORDER_US = 100_000
_FALLBACK_FPS = 25.0
_LATE_FILE_S = 1.0  # a file this far behind is not hurried up but starts its clock again
_CORRUPT_PAUSE_S = 0.01  # a source that gives nothing but errors gives them without waiting
_MOST_ADDRESSES = 4  # of a name that are tried
_DEVICE_FORMATS = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}
# FFmpeg's formats that are a picture in themselves: none that names further places to read from.
_STREAM_FORMATS = "mpjpeg,mjpeg,jpeg_pipe,mpegts,flv,mov,matroska,webm,h264,hevc"
# A camera must not make FFmpeg open anything else, such as a playlist that names local files.
_NETWORK_PROTOCOLS = "rtsp,rtsps,rtp,udp,tcp,tls,http,https,httpproxy,crypto"


@dataclass(frozen=True, slots=True)
class SourceFrame:
    """A decoded frame and when it was received.

    received_us: Unix time in microseconds, for others; at: seconds of the monotonic clock, for
    everything that is reckoned here, since somebody may set the Unix time.
    """

    video: av.VideoFrame
    received_us: int
    at: float


def read_frames(
    camera: Camera,
    stop: threading.Event,
    *,
    reach: EgressPolicy,
    open_timeout_s: float,
    read_timeout_s: float,
    on_corrupt: Callable[[], None],
    on_late: Callable[[], None],
) -> Iterator[SourceFrame]:
    """Open a camera and yield its frames until it ends or `stop` is set.

    Args:
        camera: where and how to read.
        stop: ends the iteration at the next frame.
        reach: where the camera may be; looked at anew each time it is opened.
        open_timeout_s: how long opening may take.
        read_timeout_s: how long the camera may be silent, or send nothing that decodes.
        on_corrupt: called for each packet or frame that cannot be used.
        on_late: called for each packet that is left out to catch up with the camera.

    Raises:
        CameraError: it cannot be opened or read any further; the message is a reason for a user.
    """
    is_file = camera.scheme == "file"
    while not stop.is_set():
        with _opened(camera, reach, open_timeout_s, read_timeout_s) as container:
            stream = _video_stream(container, is_live=not is_file)
            # Of HTTP, FFmpeg makes the stamps up; what is on this machine does not queue.
            late = on_late if camera.scheme in ("rtsp", "rtsps") else None
            frames = _decoded(container, stream, stop, read_timeout_s, on_corrupt, late)
            yield from _realtime(frames, stream, stop) if is_file else frames
        if not is_file and not stop.is_set():
            raise CameraError("the camera ended the stream")


def _opened(
    camera: Camera, reach: EgressPolicy, open_timeout_s: float, read_timeout_s: float
) -> InputContainer:
    """The first of the camera's addresses that it answers at; all of them have `open_timeout_s`."""
    *others, last = _allowed_addresses(camera, reach)
    each_s = open_timeout_s / (1 + len(others))
    for address in others:
        try:
            return _opened_at(camera, address, each_s, read_timeout_s)
        except CameraError:
            continue  # of a name with several addresses often only one is listened at
    return _opened_at(camera, last, each_s, read_timeout_s)


def _opened_at(
    camera: Camera, address: str | None, open_timeout_s: float, read_timeout_s: float
) -> InputContainer:
    # FFmpeg's own limit is for opening and for each read alike; what holds is the one given below.
    patience_s = max(open_timeout_s, read_timeout_s)
    url, container_format, options = _ffmpeg_open_args(camera, address, patience_s)
    began = time.monotonic()
    try:
        return av.open(
            url,
            mode="r",
            format=container_format,
            options=options | _BOUNDED,  # for what looks into the stream while it is opened
            timeout=(open_timeout_s, read_timeout_s),
        )
    except (OSError, ValueError, av.FFmpegError) as error:
        waited_s = time.monotonic() - began
        raise CameraError(
            describe_open_error(camera, address, error, waited_s, open_timeout_s)
        ) from None


def _allowed_addresses(camera: Camera, reach: EgressPolicy) -> Sequence[str | None]:
    """The addresses to connect to, the best first; None where any will do."""
    if reach.allows_all or camera.is_local:
        return (None,)
    parts = urlsplit(camera.url.get_secret_value())
    port = parts.port or DEFAULT_PORTS[parts.scheme]
    try:
        return reach.resolve_allowed(str(parts.hostname), port)[:_MOST_ADDRESSES]
    except AddressError as error:
        raise CameraError(str(error)) from None


def _ffmpeg_open_args(
    camera: Camera, address: str | None, patience_s: float
) -> tuple[str, str | None, dict[str, str]]:
    """What FFmpeg is to open: URL, format where it must be named, options."""
    url = camera.url.get_secret_value()
    parts = urlsplit(url)
    if parts.scheme == "file":
        return unquote(parts.path), None, {}
    low_latency = {"flags": "low_delay"}
    if parts.scheme == "device":
        name = next((f for p, f in _DEVICE_FORMATS.items() if sys.platform.startswith(p)), None)
        return unquote(parts.path), name, low_latency
    options = low_latency | _NO_ANALYSIS | {"protocol_whitelist": _NETWORK_PROTOCOLS}
    if parts.scheme in ("rtsp", "rtsps"):
        options |= {
            "probesize": str(_RTSP_PROBE_BYTES),
            "rtsp_transport": camera.transport,
            "allowed_media_types": "video",
            "max_delay": str(_UDP_REORDER_US) if camera.transport == "udp" else "0",
            "timeout": str(int(patience_s * 1e6)),
        }
    else:
        options |= {
            "probesize": str(_HTTP_PROBE_BYTES),
            "rw_timeout": str(int(patience_s * 1e6)),
        }
    url = _with_escaped_password(url)
    if address is None:
        return url, None, options
    if parts.scheme in ("http", "https"):
        # Whoever is asked must not send us on to an address that nobody has judged, be it by a
        # redirection or by a playlist.
        options |= {
            "max_redirects": "0",
            "format_whitelist": _STREAM_FORMATS,
            "headers": f"Host: {parts.netloc.rpartition('@')[2]}\r\n",
        }
    if parts.scheme == "https":
        options["verifyhost"] = str(parts.hostname)
    return _with_host(url, address), None, options


def _with_host(url: str, address: str) -> str:
    """The URL with an address in place of its host."""
    parts = urlsplit(url)
    userinfo, at, _ = parts.netloc.rpartition("@")
    host = f"[{address}]" if ":" in address else address
    port = "" if parts.port is None else f":{parts.port}"
    return urlunsplit(parts._replace(netloc=f"{userinfo}{at}{host}{port}"))


def _with_escaped_password(url: str) -> str:
    """The URL with user and password percent-encoded and its scheme in lower case, however the user
    wrote them.
    """
    parts = urlsplit(url)
    userinfo, at, host = parts.netloc.rpartition("@")
    if not at:
        return urlunsplit(parts)  # the scheme in lower case: FFmpeg knows no other
    user, colon, password = userinfo.partition(":")
    escaped = quote(unquote(user), safe="") + colon + quote(unquote(password), safe="")
    return urlunsplit(parts._replace(netloc=f"{escaped}@{host}"))


def _video_stream(container: InputContainer, *, is_live: bool) -> VideoStream:
    if not container.streams.video:
        kinds = sorted({stream.type for stream in container.streams})
        rest = f", only {' and '.join(kinds)}" if kinds else ""
        raise CameraError(f"the stream has no picture{rest}")
    stream = container.streams.video[0]
    context: VideoCodecContext | None = stream.codec_context
    if context is None:
        raise CameraError("it sends a codec that is not known here: choose H.264 in the camera")
    if context.width * context.height > MAX_PIXELS:
        size = f"{context.width}×{context.height}"
        raise CameraError(
            f"its pictures of {size} are larger than {MAX_PIXELS / 1e6:.1f} megapixels: "
            "choose a smaller size in the camera"
        )
    # A second thread would hold every frame back until the next one comes.
    context.thread_count = 1
    context.thread_type = ThreadType.NONE
    context.options = dict(_BOUNDED)
    if is_live:
        context.flags |= Flags.low_delay
    return stream


def _decoded(
    container: InputContainer,
    stream: VideoStream,
    stop: threading.Event,
    read_timeout_s: float,
    on_corrupt: Callable[[], None],
    on_late: Callable[[], None] | None,
) -> Iterator[SourceFrame]:
    lag = CatchUp()
    last_good = time.monotonic()
    unit_s = float(stream.time_base) if stream.time_base else None
    # Of all streams: asked for the picture's alone, PyAV would read over sound without end.
    packets = container.demux()
    while not stop.is_set():
        try:
            packet = next(packets)
        except (StopIteration, av.error.EOFError):
            return
        except av.error.InvalidDataError:
            on_corrupt()
            _check_decodes(last_good, read_timeout_s)
            # A generator that has raised is at its end; only a new one reads on.
            packets = container.demux()
            time.sleep(_CORRUPT_PAUSE_S)
            continue
        except (av.error.ExitError, av.error.TimeoutError):
            raise CameraError(f"nothing came for {read_timeout_s:g} s") from None
        except (OSError, av.FFmpegError) as error:
            detail = "" if error_text(error) == GENERIC_IO_ERROR else f": {error_text(error)}"
            raise CameraError(f"the connection broke off{detail}") from None
        if packet.stream.index != stream.index:  # `stream_index` of the last ones is always 0
            _check_decodes(last_good, read_timeout_s)
            continue
        received_us, at = now_us(), time.monotonic()
        if on_late is not None and lag.should_drop(
            _stamp_s(packet, unit_s), packet.is_keyframe, at
        ):
            on_late()
            last_good = at
            continue
        try:
            frames = packet.decode()
        except av.FFmpegError:
            on_corrupt()
            frames = []
        for frame in frames:
            if not _is_usable(frame):
                on_corrupt()
                continue
            yield SourceFrame(frame, received_us, at)
            last_good = time.monotonic()  # whoever was given it may have taken long
        if not frames:
            _check_decodes(last_good, read_timeout_s)


def _stamp_s(packet: av.Packet[Any], unit_s: float | None) -> float | None:
    stamp = packet.pts if packet.dts is None else packet.dts
    return None if stamp is None or unit_s is None else stamp * unit_s


def _is_usable(frame: object) -> TypeGuard[av.VideoFrame]:
    return isinstance(frame, av.VideoFrame) and (
        1 < frame.width <= MAX_SIDE_PX and 1 < frame.height <= MAX_SIDE_PX
    )


def _check_decodes(last_good: float, read_timeout_s: float) -> None:
    if time.monotonic() - last_good > read_timeout_s:
        raise CameraError(f"data comes, but for {read_timeout_s:g} s no picture could be decoded")


def _realtime(
    frames: Iterator[SourceFrame], stream: VideoStream, stop: threading.Event
) -> Iterator[SourceFrame]:
    """The frames of a file at the times that its stamps say."""
    step_s = 1.0 / float(stream.average_rate or _FALLBACK_FPS)
    zero: float | None = None
    media_s = -step_s
    shown = 0
    for frame in frames:
        stamp = frame.video.time
        media_s = media_s + step_s if stamp is None else stamp
        if zero is None or time.monotonic() - (zero + media_s) > _LATE_FILE_S:
            zero = time.monotonic() - media_s
        if stop.wait(max(0.0, zero + media_s - time.monotonic())):
            return
        shown += 1
        yield SourceFrame(frame.video, now_us(), time.monotonic())
    if not shown:
        raise CameraError("the file holds no picture that can be decoded")
    stop.wait(step_s)
