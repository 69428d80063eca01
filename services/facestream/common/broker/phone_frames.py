"""Phones that are cameras by their browser: the key of each, and the way of their pictures.

A phone's camera has the URL `phone:KEY`. The key is a word of chance that the phone's link carries;
who has it may send pictures for this camera and do nothing else. The annotator takes the pictures
and puts them into a short list in the broker, capture takes them out: none lies there once it has
been read, none longer than `PHONE_TTL_S`, and never more than `PHONE_CAP`, newer over older.
"""

from __future__ import annotations

from typing import Any

import redis
import redis.asyncio

from facestream.common.broker.keys import PHONE_CAP, PHONE_TTL_S, phone_frames_key

MAX_PHONE_PICTURE_BYTES = 1024 * 1024
MAX_PHONE_SIDE_PX = 1920


def has_allowed_size(height: int, width: int) -> bool:
    """Whether a phone's picture may have so many pixels each way: 2 to `MAX_PHONE_SIDE_PX`."""
    return 1 < min(height, width) <= max(height, width) <= MAX_PHONE_SIDE_PX


async def push_frame(broker: redis.asyncio.Redis, camera: str, jpeg: bytes) -> int:
    """Hand a picture to capture; returns how many older ones, not read yet, it pushed out.

    Raises:
        BROKER_ERRORS: it was not handed over.
    """
    name = phone_frames_key(camera)
    async with broker.pipeline(transaction=True) as pipe:  # counted exactly, whoever else puts
        pipe.rpush(name, jpeg)
        pipe.ltrim(name, -PHONE_CAP, -1)
        pipe.pexpire(name, int(PHONE_TTL_S * 1000))
        answers: list[Any] = await pipe.execute()
    return max(0, int(answers[0]) - PHONE_CAP)


def pop_latest_frame(broker: redis.Redis, camera: str, wait_s: float) -> tuple[bytes | None, int]:
    """The newest picture, None if none comes in time; and how many older ones went with it.

    Raises:
        BROKER_ERRORS: the broker does not answer.
    """
    name = phone_frames_key(camera)
    first: Any = broker.blpop([name], timeout=wait_s)
    if first is None:
        return None, 0
    newer: Any = broker.lpop(name, PHONE_CAP)
    pictures = [first[1], *(newer or ())]
    return pictures[-1], len(pictures) - 1
