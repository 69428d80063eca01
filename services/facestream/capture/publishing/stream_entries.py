"""Build the entries of the broker's streams: frames with their tracks, and face crops. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from facestream.capture.faces.face_pipeline import DetectionResult
from facestream.capture.settings import CaptureSettings
from facestream.capture.sources.camera_reader import CapturedFrame
from facestream.common.broker import keys
from facestream.common.broker.messages import FaceCrop, Frame, Track, encode, now_us
from facestream.common.vision.tracker import TrackedFace


@dataclass(frozen=True, slots=True)
class StreamEntry:
    """One entry of the stream `key`."""

    kind: Literal["frame", "face"]
    camera: str
    key: str
    fields: dict[bytes, bytes]


@dataclass(frozen=True, slots=True)
class FaceBatch:
    """Faces that are added to one stream together; batch numbers grow."""

    number: int
    key: str
    faces: list[StreamEntry]


def build_entries(
    camera: str, frame: CapturedFrame, result: DetectionResult, settings: CaptureSettings
) -> list[StreamEntry]:
    """Return the entries of one detection: the frame without a JPEG, and its face crops."""
    message = frame_message(camera, frame, (result.width, result.height), result.faces)
    message.detected = True
    entries = [StreamEntry("frame", camera, keys.frames_key(camera), encode(message))]
    key = keys.faces_key(keys.shard_of(camera, settings.face_shards))
    for crop in result.crops:
        face = FaceCrop(
            camera=camera,
            session=frame.session,
            track=crop.track,
            captured_us=crop.captured_us,
            published_us=now_us(),
            quality=crop.quality,
            size_px=settings.crop_size_px,
        )
        entries.append(StreamEntry("face", camera, key, encode(face, crop.jpeg)))
    return entries


def frame_message(
    camera: str,
    frame: CapturedFrame,
    size: tuple[int, int],
    faces: tuple[TrackedFace, ...],
) -> Frame:
    """Return the message of a frame, with the predicted boxes of its tracks.

    Args:
        camera: name of the camera.
        frame: that was captured.
        size: width and height of the upright frame in pixels.
        faces: tracks of the last detection.
    """
    message = Frame(
        camera=camera,
        session=frame.session,
        seq=frame.seq,
        captured_us=frame.captured_us,
        width=size[0],
        height=size[1],
    )

    def to_unix_us(monotonic_s: float) -> int:
        return frame.captured_us - round((frame.captured_at - monotonic_s) * 1e6)

    for face in faces:
        x, y, w, h = face.box_at(frame.captured_at)
        message.tracks.append(
            Track(
                track=face.track,
                x=x,
                y=y,
                w=w,
                h=h,
                score=face.score,
                first_detected_us=to_unix_us(face.first_detected_at),
                last_detected_us=to_unix_us(face.last_detected_at),
            )
        )
    return message
