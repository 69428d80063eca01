"""Hand-over of phone frames from annotator to capture, through a short list in Redis.

The annotator receives JPEGs from a phone's browser and pushes them; capture pops them. A frame
stays in Redis until capture has read it, at most `PHONE_TTL_S`. The list holds at most `PHONE_CAP`
frames; newer ones replace older ones.
"""

from __future__ import annotations

from typing import Any

import redis
import redis.asyncio

from facestream.common.broker.keys import PHONE_CAP, PHONE_TTL_S, phone_frames_key

MAX_PHONE_FRAME_BYTES = 1024 * 1024
MAX_PHONE_SIDE_PX = 1920


def has_allowed_size(height: int, width: int) -> bool:
    """Return whether both sides of a frame in pixels are in 2 to `MAX_PHONE_SIDE_PX`."""
    return 1 < min(height, width) <= max(height, width) <= MAX_PHONE_SIDE_PX


async def push_frame(broker: redis.asyncio.Redis, camera: str, jpeg: bytes) -> int:
    """Hand a frame to capture; return the number of unread frames that it replaced.

    Raises:
        BROKER_ERRORS: the frame was not handed over.
    """
    name = phone_frames_key(camera)
    async with broker.pipeline(transaction=True) as pipe:  # exact count with several writers
        pipe.rpush(name, jpeg)
        pipe.ltrim(name, -PHONE_CAP, -1)
        pipe.pexpire(name, int(PHONE_TTL_S * 1000))
        replies: list[Any] = await pipe.execute()
    return max(0, int(replies[0]) - PHONE_CAP)


def pop_latest_frame(
    broker: redis.Redis, camera: str, timeout_s: float
) -> tuple[bytes | None, int]:
    """Remove all frames; return the newest, None after the timeout, and the number of older ones.

    Raises:
        BROKER_ERRORS: the broker is unavailable.
    """
    name = phone_frames_key(camera)
    first: Any = broker.blpop([name], timeout=timeout_s)
    if first is None:
        return None, 0
    newer: Any = broker.lpop(name, PHONE_CAP)
    frames = [first[1], *(newer or ())]
    return frames[-1], len(frames) - 1
