"""Encode and validate stream entries: protobuf messages, with a JPEG where there is one. No I/O.

`encode` returns the fields of an XADD. `decode_*` reads an entry; it raises `MessageError` if the
entry is invalid or was not written by facestream, so that a reader can count and skip it. This is
the trust boundary: every field that a reader uses is checked here, by range.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import TypeVar

import numpy as np
from google.protobuf.message import DecodeError, Message
from numpy.typing import NDArray

from facestream.common.broker.keys import (
    JPEG_FIELD,
    MAX_FRAME_PIXELS,
    MAX_UNIX_TIME_S,
    MESSAGE_FIELD,
)
from facestream.common.broker.pb.facestream.v1.messages_pb2 import (
    DeadLetter,
    FaceCrop,
    Frame,
    Result,
    Track,
)
from facestream.common.core.errors import MessageError
from facestream.common.core.frame_limits import MAX_SIDE_PX
from facestream.common.core.names import is_model_name, is_name

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
MAX_TRACKS = 256
MAX_AGE_BINS = 256
MAX_MODELS_CHARS = 256
_MAX_COORDINATE_PX = 1e6  # predicted boxes may leave the frame
_MAX_AGE_YEARS = 1000.0

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
    _check(frame.width * frame.height <= MAX_FRAME_PIXELS, "frame size")
    _check(_is_time_us(frame.captured_us), "time of capture")
    _check(len(frame.tracks) <= MAX_TRACKS, "number of tracks")
    for track in frame.tracks:
        is_bounded = all(
            abs(value) <= _MAX_COORDINATE_PX for value in (track.x, track.y, track.w, track.h)
        )
        _check(is_bounded, "track box")  # NaN fails too
        _check(0 <= track.score <= 1.001, "track score")
        _check(_is_time_us(track.first_detected_us), "time of detection")
        _check(_is_time_us(track.last_detected_us), "time of detection")
    _check(jpeg is None or _is_jpeg(jpeg, MAX_FRAME_BYTES), "JPEG")
    return frame, jpeg


def decode_face(fields: Fields) -> tuple[FaceCrop, bytes]:
    """Return a face and its crop as JPEG."""
    face = _parse(fields, FaceCrop())
    crop = fields.get(JPEG_FIELD, b"")
    _check(is_name(face.camera), "camera name")
    _check(0 < face.size_px <= 1024, "crop size")
    _check(0 <= face.quality <= 1.001, "quality")
    _check(_is_time_us(face.captured_us), "time of capture")
    _check(_is_time_us(face.published_us), "time of publication")
    _check(_is_jpeg(crop, MAX_CROP_BYTES), "crop")
    return face, crop


def decode_result(fields: Fields) -> Result:
    """Return the prediction for one face: an age, a probability of female, or both."""
    result = _parse(fields, Result())
    _check(is_name(result.camera), "camera name")
    has_gender = 0 <= result.female <= 1
    _check(has_gender or math.isnan(result.female), "probability of female")
    has_age = abs(result.age) <= _MAX_AGE_YEARS and 0 <= result.age_std <= _MAX_AGE_YEARS
    _check(has_age or (has_gender and math.isnan(result.age)), "age")
    _check(0 <= result.quality <= 1.001, "quality")
    _check(_is_time_us(result.captured_us), "time of capture")
    _check(_is_time_us(result.inferred_us), "time of inference")
    _check(_is_model_list(result.model), "model name")
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


def _is_model_list(text: str) -> bool:
    """Return whether the text is empty or names models, separated by commas."""
    is_bounded = len(text) <= MAX_MODELS_CHARS
    return not text or (is_bounded and all(is_model_name(name) for name in text.split(",")))


def _is_time_us(value: int) -> bool:
    return 0 <= value <= MAX_UNIX_TIME_S * 1_000_000


def _is_jpeg(data: bytes, limit: int) -> bool:
    return 4 <= len(data) <= limit and data[:2] == b"\xff\xd8"


def _check(is_valid: bool, what: str) -> None:
    if not is_valid:
        raise MessageError(f"entry has an invalid {what}")
