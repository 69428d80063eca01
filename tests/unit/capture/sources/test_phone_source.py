"""Frames of phones, from the broker to decoded frames."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
import redis
import redis.asyncio
import simplejpeg
from facestream.capture.sources.ffmpeg_source import SourceFrame
from facestream.capture.sources.phone_source import read_phone
from facestream.common.broker.keys import PHONE_CAP, PHONE_TTL_S, phone_frames_key
from facestream.common.broker.phone_frames import pop_latest_frame, push_frame
from facestream.common.cameras.models import Camera
from facestream.common.cameras.phone_keys import new_phone_url, phone_key_of
from facestream.common.core.errors import CameraError

CAMERA = Camera.parse(f"phone={new_phone_url()}")


def jpeg(shade: int, width: int = 64, height: int = 48) -> bytes:
    image = np.full((height, width, 3), shade, np.uint8)
    return simplejpeg.encode_jpeg(image, 90, "RGB", "420")


def claiming(width: int, height: int) -> bytes:
    """Return a small JPEG whose header claims another size (ITU-T T.81, B.2.2)."""
    data = bytearray(jpeg(90))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return bytes(data)


class Phone:
    """A phone that uploads, and the reader of its frames."""

    def __init__(self, url: str) -> None:
        self.url, self.broker = url, redis.Redis.from_url(url)
        self.invalid = self.stale = 0
        self.stop = threading.Event()

    def send(self, *jpegs: bytes) -> int:
        async def put() -> int:
            client = redis.asyncio.Redis.from_url(self.url)
            pushed_out = [await push_frame(client, CAMERA.name, p) for p in jpegs]
            await client.aclose()
            return sum(pushed_out)

        return asyncio.run(put())

    def read(self, timeout_s: float = 0.5) -> Iterator[SourceFrame]:
        return read_phone(
            CAMERA,
            self.stop,
            self.broker,
            read_timeout_s=timeout_s,
            on_invalid=self._on_invalid,
            on_stale=self._on_stale,
        )

    def _on_invalid(self) -> None:
        self.invalid += 1

    def _on_stale(self, count: float) -> None:
        self.stale += int(count)


@pytest.fixture
def phone(broker_url: str) -> Iterator[Phone]:
    phone = Phone(broker_url)
    yield phone
    phone.broker.close()


def shade(frame: SourceFrame) -> int:
    return round(float(frame.video.to_ndarray(format="gray").mean()))


def test_the_newest_frame_is_read_and_older_ones_are_dropped(phone: Phone) -> None:
    assert phone.send(jpeg(50), jpeg(100), jpeg(150)) == 0
    frames = phone.read()
    frame = next(frames)
    assert abs(shade(frame) - 150) <= 3
    assert (frame.video.width, frame.video.height) == (64, 48)
    assert phone.stale == 2
    assert abs(time.monotonic() - frame.received_at) < 1
    assert not phone.broker.exists(phone_frames_key(CAMERA.name))
    phone.send(jpeg(200, 48, 64))  # the phone was rotated
    assert next(frames).video.height == 64


def test_a_list_without_a_reader_is_short_and_expires(phone: Phone) -> None:
    pushed_out = phone.send(*[jpeg(i) for i in range(PHONE_CAP + 3)])
    assert pushed_out == 3
    assert phone.broker.llen(phone_frames_key(CAMERA.name)) == PHONE_CAP
    assert 0 < phone.broker.pttl(phone_frames_key(CAMERA.name)) <= PHONE_TTL_S * 1000
    assert pop_latest_frame(phone.broker, CAMERA.name, 1.0)[1] == PHONE_CAP - 1


@pytest.mark.parametrize(
    ("bad", "may_be_good"),
    [
        (b"", False),
        (b"not a JPEG", False),
        (jpeg(90)[:200], False),
        (claiming(65000, 65000), False),
        (claiming(1921, 16), False),
        (jpeg(90)[:-2] + jpeg(90, 4000, 4000)[2:], True),
        (jpeg(90)[:2] + jpeg(90, 4000, 4000)[2:], True),
    ],
)
def test_an_invalid_jpeg_is_counted_and_the_next_one_is_read(
    phone: Phone, bad: bytes, may_be_good: bool
) -> None:
    frames = phone.read(5.0)
    phone.send(bad)
    later = threading.Timer(0.2, phone.send, [jpeg(120)])
    later.start()
    received = [next(frames)]
    if (
        received[0].video.width == 64 and abs(shade(received[0]) - 120) > 3
    ):  # the first of two in one
        received.append(next(frames))
    later.join()
    assert abs(shade(received[-1]) - 120) <= 3
    assert (phone.invalid, len(received)) == (1, 1) or (may_be_good and phone.invalid == 0)


def test_a_silent_phone_and_one_that_sends_garbage_give_different_reasons(phone: Phone) -> None:
    with pytest.raises(CameraError, match="sends no frames; open its link"):
        next(phone.read(0.1))
    phone.send(b"garbage")
    with pytest.raises(CameraError, match="no frame from the phone could be decoded"):
        next(phone.read(1e-6))


def test_a_reader_ends_when_it_is_stopped(phone: Phone) -> None:
    threading.Timer(0.1, phone.stop.set).start()
    began = time.monotonic()
    assert list(phone.read(30)) == []
    assert time.monotonic() - began < 2


def test_an_unavailable_broker_is_a_reason(tmp_path: object) -> None:
    phone = Phone(f"unix://{tmp_path}/missing.sock")
    with pytest.raises(CameraError, match="broker unavailable"):
        next(phone.read())


def test_keys_are_long_and_random() -> None:
    keys = {phone_key_of(Camera.parse(f"phone={new_phone_url()}")) for _ in range(50)}
    assert len(keys) == 50
    assert all(key is not None and len(key) == 32 for key in keys)
    assert phone_key_of(Camera.parse("door=rtsp://host/live")) is None
