"""Run many viewers of one MJPEG stream, some of them slow, in a separate process.

`python -m tests.soak.viewer_load URL VIEWERS SLOW SECONDS` prints a JSON list: per viewer, whether
it is slow, its frames and bytes, and the longest time without a frame.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from urllib.parse import urlsplit

SLOW_BYTES_S = 60_000  # a 720p stream is about 1.5 MB/s
_PIECE_BYTES = 64 * 1024
_START_TIMEOUT_S = 10.0
_END_OF_FRAME = b"\xff\xd9\r\n"


class _Viewer:
    def __init__(self, slow: bool) -> None:
        self.slow, self.frames, self.bytes, self.longest_s = slow, 0, 0, 0.0
        self.is_out = False

    async def watch(self, url: str, until_s: float) -> None:
        parts = urlsplit(url)
        reader, writer = await asyncio.wait_for(
            asyncio.open_connection(parts.hostname, parts.port), _START_TIMEOUT_S
        )
        writer.write(f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())
        tail, last_s = b"", time.monotonic()
        try:
            while (left_s := until_s - time.monotonic()) > 0:
                size = SLOW_BYTES_S // 4 if self.slow else _PIECE_BYTES
                try:
                    piece = await asyncio.wait_for(reader.read(size), left_s)
                except TimeoutError:
                    break
                if not piece:
                    self.is_out = True
                    break
                self.bytes += len(piece)
                whole = (tail + piece).count(_END_OF_FRAME)
                tail = piece[-len(_END_OF_FRAME) + 1 :]
                if whole:
                    self.frames += whole
                    self.longest_s = max(self.longest_s, time.monotonic() - last_s)
                    last_s = time.monotonic()
                if self.slow:
                    await asyncio.sleep(0.25)
            self.longest_s = max(self.longest_s, time.monotonic() - last_s)
        finally:
            writer.close()


async def _watch(url: str, viewers: int, slow: int, seconds: float) -> list[dict[str, object]]:
    crowd = [_Viewer(i < slow) for i in range(viewers)]
    until_s = time.monotonic() + seconds
    await asyncio.gather(*(viewer.watch(url, until_s) for viewer in crowd))
    return [
        {
            "slow": v.slow,
            "frames": v.frames,
            "bytes": v.bytes,
            "longest_s": round(v.longest_s, 2),
            "is_out": v.is_out,
        }
        for v in crowd
    ]


if __name__ == "__main__":
    address, number, slow_ones, length = sys.argv[1:]
    results = asyncio.run(_watch(address, int(number), int(slow_ones), float(length)))
    print(json.dumps(results))
