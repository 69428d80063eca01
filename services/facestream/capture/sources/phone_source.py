"""Reads a phone that sends pictures by its browser: JPEGs out of the broker, decoded frames out.

The newest picture is taken and those that waited with it are passed over and counted. What is in a
picture is its sender's doing: its size is looked at before it is decoded, the decoder is bounded,
and one that does not decode is counted and forgotten.
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
    pop_latest_frame,
)
from facestream.common.cameras.models import Camera
from facestream.common.core.errors import CameraError

_WAIT_S = 0.5  # so that a reader that is to stop does
_SILENT = "the phone sends nothing: open its link there, and keep that page in front"


def read_phone(
    camera: Camera,
    stop: threading.Event,
    broker: redis.Redis,
    *,
    read_timeout_s: float,
    on_corrupt: Callable[[], None],
    on_late: Callable[[float], None],
) -> Iterator[SourceFrame]:
    """Yield what a phone sends until it falls silent or `stop` is set.

    Args:
        broker: where its pictures are; this blocks one of its connections.
        read_timeout_s: how long the phone may be silent, or send nothing that decodes.
        on_corrupt: called for each picture that cannot be decoded.
        on_late: told how many pictures were passed over for a newer one.

    Raises:
        CameraError: nothing usable came for so long; the message is a reason for a user.
    """
    decoder = _decoder()
    heard_at = good_at = time.monotonic()
    while not stop.is_set():
        try:
            jpeg, late = pop_latest_frame(broker, camera.name, _WAIT_S)
        except BROKER_ERRORS as error:
            raise CameraError(f"the broker does not answer: {error_text(error)}") from None
        received_us, at = now_us(), time.monotonic()
        if late:
            on_late(late)
        if jpeg is None:
            if at - heard_at > read_timeout_s:
                raise CameraError(_SILENT)
            continue
        heard_at = at
        video = _decoded(decoder, jpeg)
        if video is not None:
            good_at = at
            yield SourceFrame(video, received_us, at)
            continue
        on_corrupt()
        decoder = _decoder()  # nothing of a bad picture may show in the next one
        if at - good_at > read_timeout_s:
            raise CameraError(f"of what the phone sends nothing decodes for {read_timeout_s:g} s")


def _decoded(decoder: VideoCodecContext, jpeg: bytes) -> av.VideoFrame | None:
    try:
        height, width = simplejpeg.decode_jpeg_header(jpeg)[:2]
        if not has_allowed_size(height, width):
            return None
        frame = decoder.decode(av.Packet(jpeg))[0]
    except (av.FFmpegError, ValueError, IndexError):
        return None
    # Another header further on may say another size: the decoder's bound is on pixels alone.
    return frame if (frame.height, frame.width) == (height, width) else None


def _decoder() -> VideoCodecContext:
    decoder: VideoCodecContext = av.CodecContext.create("mjpeg", "r")
    decoder.thread_count = 1  # a second one would hold each picture back until the next comes
    decoder.options = {"err_detect": "explode", "max_pixels": str(MAX_PHONE_SIDE_PX**2)}
    return decoder
