"""Stream entries: encoding, decoding and validation."""

from typing import Any

import numpy as np
import pytest
from facestream.common.broker.messages import (
    FaceCrop,
    Frame,
    Result,
    Track,
    decode_face,
    decode_frame,
    decode_result,
    encode,
    pack_distribution,
    unpack_distribution,
)
from facestream.common.core.errors import MessageError
from hypothesis import given
from hypothesis import strategies as st

JPEG = b"\xff\xd8\xff\xd9"


def frame() -> Frame:
    return Frame(
        camera="door", session=1, seq=2, width=1280, height=720, tracks=[Track(track=1, w=9, h=9)]
    )


def test_a_frame_survives_encoding_with_and_without_a_jpeg() -> None:
    assert decode_frame(encode(frame())) == (frame(), None)
    assert decode_frame(encode(frame(), JPEG)) == (frame(), JPEG)


def test_a_face_survives_encoding_with_its_crop() -> None:
    face = FaceCrop(camera="door", track=1, quality=0.5, size_px=160)
    assert decode_face(encode(face, JPEG)) == (face, JPEG)


def test_a_result_survives_encoding() -> None:
    result = Result(camera="door", track=1, age=30, age_std=5, female=float("nan"))
    assert decode_result(encode(result)).age == 30


def test_a_result_needs_an_age_or_a_gender() -> None:
    nan = float("nan")
    gender_only = Result(camera="door", age=nan, age_std=nan, female=0.25)
    assert decode_result(encode(gender_only)).female == 0.25
    for age, age_std, female in [(nan, nan, nan), (30, nan, 0.5), (float("inf"), 5, 0.5)]:
        with pytest.raises(MessageError, match="age"):
            decode_result(encode(Result(camera="door", age=age, age_std=age_std, female=female)))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({b"x": b"1"}, "not written by facestream"),
        ({b"m": b"\xff\xff\xff"}, "cannot be parsed"),
        ({b"m": b"0" * 100_000}, "length"),
        (encode(Frame(camera="Door", width=1, height=1)), "camera name"),
        (encode(Frame(camera="door", width=0, height=1)), "frame size"),
        (encode(frame(), b"GIF89a"), "JPEG"),
        (
            encode(Frame(camera="door", width=1, height=1, tracks=[Track(x=float("nan"))])),
            "track box",
        ),
        (
            encode(Frame(camera="door", width=1, height=1, tracks=[Track()] * 300)),
            "number of tracks",
        ),
    ],
)
def test_the_error_names_the_invalid_field_of_a_frame(
    fields: dict[bytes, bytes], message: str
) -> None:
    with pytest.raises(MessageError, match=message):
        decode_frame(fields)


NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 8192, "height": 8192}, "frame size"),
        ({"captured_us": -1}, "time of capture"),
        ({"captured_us": 2**62}, "time of capture"),
        ({"tracks": [Track(x=1e30)]}, "track box"),
        ({"tracks": [Track(w=-INFINITY)]}, "track box"),
        ({"tracks": [Track(score=NAN)]}, "track score"),
        ({"tracks": [Track(score=7)]}, "track score"),
        ({"tracks": [Track(first_detected_us=-(2**62))]}, "time of detection"),
        ({"tracks": [Track(last_detected_us=2**62)]}, "time of detection"),
    ],
)
def test_every_field_of_a_frame_has_a_range(changes: dict[str, Any], message: str) -> None:
    fields: dict[str, Any] = {"camera": "door", "width": 64, "height": 48}
    poisoned = Frame(**fields | changes)
    with pytest.raises(MessageError, match=message):
        decode_frame(encode(poisoned))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"age": 1e30}, "age"),
        ({"age_std": -1}, "age"),
        ({"quality": INFINITY}, "quality"),
        ({"quality": -3}, "quality"),
        ({"captured_us": -1}, "time of capture"),
        ({"inferred_us": 2**62}, "time of inference"),
        ({"model": "m" * 60_000}, "model name"),
        ({"model": "a\x1b[2Jb"}, "model name"),
    ],
)
def test_every_field_of_a_result_has_a_range(changes: dict[str, Any], message: str) -> None:
    fields: dict[str, Any] = {"camera": "door", "age": 30, "age_std": 5, "female": 0.5}
    poisoned = Result(**fields | changes)
    with pytest.raises(MessageError, match=message):
        decode_result(encode(poisoned))


@pytest.mark.parametrize(
    ("face", "crop"),
    [
        (FaceCrop(camera="door", size_px=160), b""),
        (FaceCrop(camera="door", size_px=0), JPEG),
        (FaceCrop(camera="door", size_px=160, quality=float("inf")), JPEG),
        (FaceCrop(camera="door", size_px=160), JPEG + bytes(300_000)),
    ],
)
def test_an_invalid_face_is_rejected(face: FaceCrop, crop: bytes) -> None:
    with pytest.raises(MessageError):
        decode_face(encode(face, crop))


@given(st.dictionaries(st.sampled_from([b"m", b"jpeg", b"x"]), st.binary(max_size=200)))
def test_any_bytes_are_decoded_or_rejected(fields: dict[bytes, bytes]) -> None:
    for decode in (decode_frame, decode_face, decode_result):
        try:
            decode(fields)
        except MessageError:
            pass


def test_a_distribution_survives_packing() -> None:
    probabilities = np.array([0.1, 0.2, 0.7], np.float32)
    assert unpack_distribution(pack_distribution(probabilities)) == pytest.approx(
        probabilities, abs=1e-3
    )
    assert unpack_distribution(b"").size == 0


@pytest.mark.parametrize("data", [b"\x00", b"\x00\x00", b"\x00\x7e", b"\x00\xbc\x00\x3c\x00\x3c"])
def test_an_invalid_distribution_is_rejected(data: bytes) -> None:
    with pytest.raises(MessageError):
        unpack_distribution(data)
