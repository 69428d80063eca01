"""Hand-over of phone frames from annotator to capture, through a short list in Redis.

The annotator receives JPEGs from a phone's browser and pushes them; capture pops them. A frame
stays in Redis until capture has read it, at most `PHONE_TTL_S`. The list holds at most `PHONE_CAP`
frames; newer ones replace older ones.
"""

from __future__ import annotations

import re
from typing import Any

import redis
import redis.asyncio

from facestream.common.broker.keys import PHONE_CAP, PHONE_TTL_S, phone_frames_key

MAX_PHONE_FRAME_BYTES = 1024 * 1024
MAX_PHONE_SIDE_PX = 1920

_SOI, _SOF_BASELINE, _SOS = b"\xff\xd8", 0xC0, 0xDA
# Huffman and quantization tables, restart interval, APPn (Exif, JFIF), comment.
_TABLES_AND_TEXTS = frozenset((0xC4, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)))
# In a scan, 0xFF precedes only stuffed bytes, restart markers, fill bytes, and the image's end.
_FURTHER_SEGMENT = re.compile(rb"\xff[^\x00\xd0-\xd7\xd9\xff]")


def has_allowed_size(height: int, width: int) -> bool:
    """Return whether both sides of a frame in pixels are in 2 to `MAX_PHONE_SIDE_PX`."""
    return 1 < min(height, width) <= max(height, width) <= MAX_PHONE_SIDE_PX


def is_baseline_jpeg(jpeg: bytes) -> bool:
    """Return whether a JPEG is baseline with one scan of all components; nothing is decoded.

    A progressive JPEG of 1 MB can hold 70,000 scans and cost 5 s of CPU. Browsers upload baseline.
    """
    position, components = 2, 0
    while position + 4 <= len(jpeg) and jpeg[:2] == _SOI:
        if jpeg[position] != 0xFF:
            return False
        marker = jpeg[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        length = int.from_bytes(jpeg[position + 2 : position + 4], "big")
        segment = jpeg[position + 4 : position + 2 + length]
        if marker == _SOF_BASELINE and not components:
            components = segment[5] if len(segment) > 5 else 0
        elif marker == _SOS:
            has_all = bool(components) and bool(segment) and segment[0] == components
            return has_all and _FURTHER_SEGMENT.search(jpeg, position + 2 + length) is None
        elif marker not in _TABLES_AND_TEXTS or length < 2:
            return False
        position += 2 + length
    return False


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
