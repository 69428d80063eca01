"""Read the frames that a phone browser uploads: JPEGs from the broker in, decoded frames out.

Only the newest JPEG is decoded; older ones that waited with it are dropped and counted. JPEGs are
untrusted input: the size is checked before decoding, the decoder is bounded, and an invalid JPEG is
counted and dropped.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import av
import redis
import simplejpeg
from av.video.codeccontext import VideoCodecContext

from facestream.capture.sources.ffmpeg_source import SourceFrame
from facestream.common.broker.connection import BROKER_ERRORS, error_text
from facestream.common.broker.messages import now_us
from facestream.common.broker.phone_frames import (
    MAX_PHONE_SIDE_PX,
    has_allowed_size,
    is_baseline_jpeg,
    pop_latest_frame,
)
from facestream.common.cameras.models import Camera
from facestream.common.core.errors import CameraError
from facestream.common.vision.source_frame import frame_geometry

_POLL_TIMEOUT_S = 0.5  # short, so that a stopped reader ends soon
_SILENT = "the phone sends no frames; open its link there and keep that page in front"


def read_phone(
    camera: Camera,
    stop: threading.Event,
    broker: redis.Redis,
    *,
    read_timeout_s: float,
    on_invalid: Callable[[], None],
    on_stale: Callable[[float], None],
) -> Iterator[SourceFrame]:
    """Yield the frames of a phone until it is silent for too long or `stop` is set.

    Args:
        camera: a phone camera.
        stop: ends the iteration.
        broker: holds the phone's frames; the calls block one of its connections.
        read_timeout_s: time limit for the next JPEG, and for the next frame that decodes.
        on_invalid: called for each JPEG that cannot be decoded.
        on_stale: called with the number of JPEGs that were dropped for a newer one.

    Raises:
        CameraError: no usable frame in time; the message is a reason for the user.
    """
    decoder = new_jpeg_decoder()
    last_received_at = last_decoded_at = time.monotonic()
    while not stop.is_set():
        try:
            jpeg, stale_count = pop_latest_frame(broker, camera.name, _POLL_TIMEOUT_S)
        except BROKER_ERRORS as error:
            raise CameraError(f"broker unavailable: {error_text(error)}") from None
        received_us, received_at = now_us(), time.monotonic()
        if stale_count:
            on_stale(stale_count)
        if jpeg is None:
            if received_at - last_received_at > read_timeout_s:
                raise CameraError(_SILENT)
            continue
        last_received_at = received_at
        video = decode_phone_jpeg(decoder, jpeg)
        if video is not None:
            last_decoded_at = received_at
            geometry = frame_geometry(video, camera.pixel_aspect or 1.0, rotate=camera.rotate)
            yield SourceFrame(video, received_us, received_at, geometry)
            continue
        on_invalid()
        decoder = new_jpeg_decoder()  # no part of an invalid JPEG may appear in the next frame
        if received_at - last_decoded_at > read_timeout_s:
            raise CameraError(f"no frame from the phone could be decoded for {read_timeout_s:g} s")


def decode_phone_jpeg(decoder: VideoCodecContext, jpeg: bytes) -> av.VideoFrame | None:
    """Decode an untrusted JPEG; None if it is invalid or larger than allowed."""
    try:
        height, width = simplejpeg.decode_jpeg_header(jpeg)[:2]
        if not has_allowed_size(height, width) or not is_baseline_jpeg(jpeg):
            return None
        frame = decoder.decode(av.Packet(jpeg))[0]
    except (av.FFmpegError, ValueError, IndexError):
        return None
    # A second header may give another size, and the decoder limits the number of pixels only.
    return frame if (frame.height, frame.width) == (height, width) else None


def new_jpeg_decoder() -> VideoCodecContext:
    """Return a JPEG decoder that rejects damaged data and large frames."""
    decoder: VideoCodecContext = av.CodecContext.create("mjpeg", "r")
    decoder.thread_count = 1  # a second thread would delay each frame until the next one arrives
    decoder.options = {"err_detect": "explode", "max_pixels": str(MAX_PHONE_SIDE_PX**2)}
    return decoder
