"""Encode frames of watched cameras as JPEGs for the live view, with faces pixelated if required."""

from __future__ import annotations

import logging
import time

from facestream.capture.faces.face_pipeline import DetectionResult
from facestream.capture.faces.pixelation import pixelate_faces
from facestream.capture.faces.yuv_frame import from_av_frame, to_jpeg
from facestream.capture.metrics import CaptureMetrics, FrameDropReason
from facestream.capture.publishing.stream_entries import StreamEntry, frame_message
from facestream.capture.sources.camera_reader import CameraReader, CapturedFrame
from facestream.common.broker import keys
from facestream.common.broker.messages import encode
from facestream.common.core.errors import ImageError

_log = logging.getLogger(__name__)


class LiveViewEncoder:
    """Encoder of live-view frames; for one thread.

    Args:
        jpeg_quality: 1-100.
        metrics: of capture.
    """

    def __init__(self, jpeg_quality: int, metrics: CaptureMetrics) -> None:
        self._jpeg_quality, self._metrics = jpeg_quality, metrics
        self._stage = metrics.stage_duration.labels("jpeg")

    def encode(
        self, reader: CameraReader, frame: CapturedFrame, result: DetectionResult | None
    ) -> StreamEntry | None:
        """Return the stream entry of a frame with its JPEG.

        Args:
            reader: of the frame's camera; its privacy mode applies.
            frame: to encode.
            result: of a detection in this very frame, if there was one.

        Returns:
            None if the privacy mode forbids the JPEG, or if it cannot be encoded, which is counted.
        """
        camera = reader.camera.name
        pixelates = reader.privacy == "blur"
        if reader.privacy == "stats-only" or (pixelates and result is None):
            return None
        started_at = time.perf_counter()
        try:
            yuv_frame = from_av_frame(frame.video, frame.geometry)
            if pixelates and result is not None:
                yuv_frame = pixelate_faces(yuv_frame, result.redaction_boxes)
            jpeg = to_jpeg(yuv_frame, self._jpeg_quality)
        except (ImageError, ValueError) as error:
            self._count_dropped(camera, "unsupported_pixel_format")
            _log.debug("camera %s: %s", camera, error)
            return None
        except Exception:
            # An unexpected frame of one camera must not drop the faces of all the others.
            self._count_dropped(camera, "internal_error")
            _log.exception("camera %s: cannot encode a frame", camera)
            return None
        self._stage.observe(time.perf_counter() - started_at)
        tracks = reader.tracks
        faces = tracks.faces if tracks.session == frame.session else ()
        faces = faces if result is None else result.faces
        message = frame_message(camera, frame, (yuv_frame.width, yuv_frame.height), faces)
        return StreamEntry("frame", camera, keys.frames_key(camera), encode(message, jpeg))

    def _count_dropped(self, camera: str, reason: FrameDropReason) -> None:
        self._metrics.frames_dropped.labels(camera, reason).inc()
