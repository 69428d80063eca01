"""What goes into the broker's streams: frames with their tracks, and crops of faces. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from facestream.capture.faces.face_pipeline import DetectionResult
from facestream.capture.faces.tracker import TrackedFace
from facestream.capture.settings import CaptureSettings
from facestream.capture.sources.camera_reader import CapturedFrame
from facestream.common.broker import keys
from facestream.common.broker.messages import FaceCrop, Frame, Track, encode, now_us


@dataclass(frozen=True, slots=True)
class StreamEntry:
    """One entry of the stream `key`."""

    kind: Literal["frame", "face"]
    camera: str
    key: str
    fields: dict[bytes, bytes]


@dataclass(frozen=True, slots=True)
class FaceBatch:
    """Faces for one stream, put there together; numbers grow."""

    number: int
    key: str
    faces: list[StreamEntry]


def build_entries(
    camera: str, frame: CapturedFrame, found: DetectionResult, settings: CaptureSettings
) -> list[StreamEntry]:
    """Of a search: the frame without its picture, and the faces to ask about."""
    message = frame_message(camera, frame, (found.width, found.height), found.faces)
    message.detected = True
    entries = [StreamEntry("frame", camera, keys.frames_key(camera), encode(message))]
    key = keys.faces_key(keys.shard_of(camera, settings.face_shards))
    for crop in found.crops:
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
    """A frame of this size in pixels, with where its faces are by then."""
    message = Frame(
        camera=camera,
        session=frame.session,
        seq=frame.seq,
        captured_us=frame.captured_us,
        width=size[0],
        height=size[1],
    )
    for face in faces:
        x, y, w, h = face.box_at(frame.at)
        message.tracks.append(
            Track(
                track=face.track,
                x=x,
                y=y,
                w=w,
                h=h,
                score=face.score,
                first_detected_us=frame.captured_us - round((frame.at - face.first_seen) * 1e6),
                last_detected_us=frame.captured_us - round((frame.at - face.seen) * 1e6),
            )
        )
    return message
