"""Encode and validate stream entries: protobuf messages, with a JPEG where there is one. No I/O.

`encode` returns the fields of an XADD. `decode_*` reads an entry; it raises `MessageError` if the
entry is invalid or was not written by facestream, so that a reader can count and skip it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import TypeVar

import numpy as np
from google.protobuf.message import DecodeError, Message
from numpy.typing import NDArray

from facestream.common.broker.keys import JPEG_FIELD, MESSAGE_FIELD
from facestream.common.broker.pb.facestream.v1.messages_pb2 import (
    DeadLetter,
    FaceCrop,
    Frame,
    Result,
    Track,
)
from facestream.common.core.errors import MessageError
from facestream.common.core.names import is_name

__all__ = [
    "DeadLetter",
    "FaceCrop",
    "Frame",
    "Result",
    "Track",
    "decode_face",
    "decode_frame",
    "decode_result",
    "encode",
    "now_us",
    "pack_distribution",
    "unpack_distribution",
]

Fields = Mapping[bytes, bytes]
MAX_MESSAGE_BYTES = 64 * 1024
MAX_CROP_BYTES = 256 * 1024
MAX_FRAME_BYTES = 8 * 1024 * 1024
MAX_SIDE_PX = 8192
MAX_TRACKS = 256
MAX_AGE_BINS = 256

M = TypeVar("M", bound=Message)


def now_us() -> int:
    """Return the Unix time in microseconds."""
    return time.time_ns() // 1000


def encode(message: Message, jpeg: bytes | None = None) -> dict[bytes, bytes]:
    """Return the fields of a stream entry."""
    fields = {MESSAGE_FIELD: message.SerializeToString()}
    if jpeg is not None:
        fields[JPEG_FIELD] = jpeg
    return fields


def decode_frame(fields: Fields) -> tuple[Frame, bytes | None]:
    """Return a frame and its JPEG; the JPEG is None if the live view was not open."""
    frame = _parse(fields, Frame())
    jpeg = fields.get(JPEG_FIELD)
    _check(is_name(frame.camera), "camera name")
    _check(0 < frame.width <= MAX_SIDE_PX and 0 < frame.height <= MAX_SIDE_PX, "frame size")
    _check(len(frame.tracks) <= MAX_TRACKS, "number of tracks")
    _check(all(math.isfinite(t.x + t.y + t.w + t.h) for t in frame.tracks), "track box")
    _check(jpeg is None or _is_jpeg(jpeg, MAX_FRAME_BYTES), "JPEG")
    return frame, jpeg


def decode_face(fields: Fields) -> tuple[FaceCrop, bytes]:
    """Return a face and its crop as JPEG."""
    face = _parse(fields, FaceCrop())
    crop = fields.get(JPEG_FIELD, b"")
    _check(is_name(face.camera), "camera name")
    _check(0 < face.size_px <= 1024, "crop size")
    _check(math.isfinite(face.quality), "quality")
    _check(_is_jpeg(crop, MAX_CROP_BYTES), "crop")
    return face, crop


def decode_result(fields: Fields) -> Result:
    """Return the prediction for one face: an age, a probability of female, or both."""
    result = _parse(fields, Result())
    _check(is_name(result.camera), "camera name")
    has_gender = 0 <= result.female <= 1
    _check(has_gender or math.isnan(result.female), "probability of female")
    has_age = math.isfinite(result.age + result.age_std)
    _check(has_age or (has_gender and math.isnan(result.age)), "age")
    _check(math.isfinite(result.quality), "quality")
    _check(len(result.age_distribution) <= 2 * MAX_AGE_BINS, "age distribution")
    return result


def pack_distribution(probabilities: NDArray[np.float32]) -> bytes:
    """Return the probabilities of whole years `[bins]` as little-endian float16."""
    return probabilities.astype("<f2").tobytes()


def unpack_distribution(data: bytes) -> NDArray[np.float32]:
    """Return the probabilities of whole years, float32 `[bins]`, normalized; empty for no data.

    Raises:
        MessageError: not a distribution.
    """
    _check(len(data) % 2 == 0, "age distribution")
    halves = np.frombuffer(data, "<f2")
    _check(bool(np.isfinite(halves).all()), "age distribution")
    values = halves.astype(np.float32)
    if values.size == 0:
        return values
    total = float(values.sum())
    _check(total > 0 and float(values.min()) >= 0, "age distribution")
    return values / np.float32(total)


def _parse(fields: Fields, message: M) -> M:
    data = fields.get(MESSAGE_FIELD)
    if data is None:
        raise MessageError(
            f"entry has no {MESSAGE_FIELD.decode()!r} field: not written by facestream"
        )
    _check(len(data) <= MAX_MESSAGE_BYTES, "length")
    try:
        message.ParseFromString(data)
    except DecodeError:
        raise MessageError("entry cannot be parsed: corrupt, or of another version") from None
    return message


def _is_jpeg(data: bytes, limit: int) -> bool:
    return 4 <= len(data) <= limit and data[:2] == b"\xff\xd8"


def _check(is_valid: bool, what: str) -> None:
    if not is_valid:
        raise MessageError(f"entry has an invalid {what}")
