"""Open a camera with FFmpeg: resolve its host, connect, choose the video stream.

The egress policy is checked at each connection. Failures raise `CameraError` with a reason for the
user.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from urllib.parse import urlsplit

import av
import av.error
from av.codec.context import Flags, ThreadType
from av.container import InputContainer
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from facestream.capture.sources.ffmpeg_options import BOUNDED, MAX_PIXELS, ffmpeg_open_args
from facestream.capture.sources.open_errors import DEFAULT_PORTS, describe_open_error
from facestream.common.cameras.models import Camera
from facestream.common.core.errors import AddressError, CameraError
from facestream.common.security.egress_policy import EgressPolicy

_MAX_ADDRESSES = 4  # of a host name that are tried


def open_camera(
    camera: Camera,
    egress_policy: EgressPolicy,
    open_timeout_s: float,
    read_timeout_s: float,
    forced_format: str | None,
) -> InputContainer:
    """Open the first address of the camera that accepts; all share `open_timeout_s`.

    `forced_format` names the demuxer; None to detect it.

    Raises:
        CameraError: no address could be opened; the message is a reason for the user.
    """
    *others, last = _allowed_addresses(camera, egress_policy)
    timeout_s = open_timeout_s / (1 + len(others))
    for address in others:
        try:
            return _open_address(camera, address, timeout_s, read_timeout_s, forced_format)
        except CameraError:
            continue  # often a server listens on one address of a host name only
    return _open_address(camera, last, timeout_s, read_timeout_s, forced_format)


def _open_address(
    camera: Camera,
    address: str | None,
    open_timeout_s: float,
    read_timeout_s: float,
    forced_format: str | None,
) -> InputContainer:
    # FFmpeg has one limit for opening and reading. PyAV's limits below are the effective ones.
    io_timeout_s = max(open_timeout_s, read_timeout_s)
    url, container_format, options = ffmpeg_open_args(camera, address, io_timeout_s)
    started_at = time.monotonic()

    def open_as(demuxer: str | None) -> InputContainer:
        return av.open(
            url,
            mode="r",
            format=demuxer,
            options=options | BOUNDED,  # for decoders that FFmpeg uses while it opens the stream
            timeout=(open_timeout_s, read_timeout_s),
        )

    try:
        try:
            return open_as(forced_format or container_format)
        except av.error.InvalidDataError:
            if forced_format or camera.scheme not in ("http", "https"):
                raise
            # Multipart that FFmpeg does not recognize; `mjpeg` searches for JPEGs in anything.
            container = open_as("mjpeg")
            if container.streams.video and container.streams.video[0].codec_context.width:
                return container
            container.close()
            raise
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


def select_video_stream(container: InputContainer, *, is_live: bool) -> VideoStream:
    """Return the first video stream, with its decoder set up for one thread.

    Raises:
        CameraError: there is no video, or the decoder cannot be used.
    """
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
