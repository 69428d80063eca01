"""MJPEG hub: one rendering per frame, newest first, slow clients skip."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import aclosing
from typing import Any

import numpy as np
import pytest
import simplejpeg
from facestream.annotator.metrics import AnnotatorMetrics
from facestream.annotator.stream_limit import StreamLimit, StreamLimitError
from facestream.annotator.video.camera_feed import RenderJob
from facestream.annotator.video.mjpeg_hub import MjpegHub
from facestream.common.broker.messages import now_us
from facestream.common.cameras.models import CameraState, CameraStatus
from prometheus_client import CollectorRegistry


def jpeg(shade: int = 100) -> bytes:
    data: bytes = simplejpeg.encode_jpeg(
        np.full((64, 96, 3), shade, np.uint8), 90, colorsubsampling="420"
    )
    return data


class Scene:
    """A hub with a manual clock and one status for all cameras."""

    def __init__(self, max_video_streams: int = 8) -> None:
        self.registry = CollectorRegistry()
        self.now = 100.0
        self.state: CameraState = "live"
        self.hub = MjpegHub(
            AnnotatorMetrics(self.registry),
            80,
            StreamLimit(max_video_streams, 8, "full"),
            2.0,
            lambda name: CameraStatus(name=name, state=self.state, since=0.0),
            clock=lambda: self.now,
        )

    def count(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"facestream_annotator_{name}", labels) or 0.0

    def offer(self, camera: str = "door", data: bytes | None = None) -> None:
        self.hub.submit_frame(camera, RenderJob(data or jpeg(), (), now_us()))

    async def drawn(self, frames: float, camera: str = "door") -> None:
        while self.count("frames_annotated_total", camera=camera) < frames:
            await asyncio.sleep(0.001)


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 10))


async def take(parts: AsyncIterator[bytes]) -> bytes:
    return await anext(parts)


def test_without_viewers_nothing_is_rendered() -> None:
    async def go() -> None:
        scene = Scene()
        scene.offer()
        await asyncio.sleep(0.05)
        assert scene.count("frames_annotated_total", camera="door") == 0
        assert scene.hub.watched() == []

    run(go())


def test_parts_end_with_a_boundary_so_that_browsers_show_them_at_once() -> None:
    async def go() -> None:
        scene = Scene()
        with scene.hub.subscribe(["door"]) as (feed,):
            assert scene.hub.watched() == ["door"]
            async with aclosing(scene.hub.stream(feed)) as parts:  # type: ignore[type-var]
                scene.offer()
                part = await take(parts)
        head, _, body = part.partition(b"\r\n\r\n")
        assert head.startswith(b"--facestream\r\nContent-Type: image/jpeg")
        assert b"X-Camera: door" in head
        assert body.endswith(b"\r\n--facestream\r\n")
        jpeg_bytes = body.removesuffix(b"\r\n--facestream\r\n")
        assert b"Content-Length: %d\r\n" % len(jpeg_bytes) in head
        assert simplejpeg.decode_jpeg(jpeg_bytes).shape == (64, 96, 3)
        assert scene.count("video_streams", camera="door") == 0

    run(go())


def test_frame_is_rendered_once_for_all_viewers() -> None:
    async def go() -> None:
        scene = Scene()
        with scene.hub.subscribe(["door"]) as (feed,), scene.hub.subscribe(["door"]):
            first, second = scene.hub.stream(feed), scene.hub.stream(feed)
            scene.offer()
            parts = await asyncio.gather(take(first), take(second))
            assert parts[0] == parts[1]
            assert scene.count("frames_annotated_total", camera="door") == 1
            assert scene.count("video_streams", camera="door") == 2
            await asyncio.gather(first.aclose(), second.aclose())  # type: ignore[attr-defined]

    run(go())


def test_slow_client_skips_frames_and_they_are_counted() -> None:
    async def go() -> None:
        scene = Scene()
        with scene.hub.subscribe(["door"]) as (feed,):
            async with aclosing(scene.hub.stream(feed)) as parts:  # type: ignore[type-var]
                scene.offer()
                await take(parts)
                for n in range(2, 7):
                    scene.offer(data=jpeg(20 * n))
                    await scene.drawn(n)
                assert feed.part == (await take(parts))
                assert scene.count("stream_frames_skipped_total", camera="door") == 4

    run(go())


def test_frames_faster_than_rendering_are_superseded() -> None:
    async def go() -> None:
        scene = Scene()
        with scene.hub.subscribe(["door"]):
            for _ in range(10):
                scene.offer()
            await scene.drawn(1)
            dropped = scene.count("frames_dropped_total", camera="door", reason="superseded")
            assert dropped == 9

    run(go())


def test_invalid_frame_is_counted_and_the_next_one_rendered() -> None:
    async def go() -> None:
        scene = Scene()
        with scene.hub.subscribe(["door"]):
            scene.offer(data=b"\xff\xd8 rubbish")
            while not scene.count("frames_dropped_total", camera="door", reason="invalid"):
                await asyncio.sleep(0.001)
            scene.offer()
            await scene.drawn(1)

    run(go())


@pytest.mark.parametrize("state", ["failed", "stalled", "paused", "connecting"])
def test_camera_that_is_down_gets_a_placeholder(state: CameraState) -> None:
    async def go() -> None:
        scene = Scene()
        scene.state = state
        with scene.hub.subscribe(["door"]) as (feed,):
            scene.now += 0.6
            await scene.hub.publish_placeholders()
            assert feed.seq == 1
            assert simplejpeg.decode_jpeg(feed.jpeg).shape == (720, 1280, 3)

    run(go())


def test_live_camera_gets_a_placeholder_only_when_stale() -> None:
    async def go() -> None:
        scene = Scene()
        with scene.hub.subscribe(["door"]) as (feed,):
            scene.offer()
            await scene.drawn(1)
            scene.now += 1.9
            await scene.hub.publish_placeholders()
            assert feed.seq == 1
            scene.now += 0.2
            await scene.hub.publish_placeholders()
            assert feed.seq == 2

    run(go())


def test_new_viewer_does_not_get_a_stale_frame() -> None:
    async def go() -> None:
        scene = Scene()
        with scene.hub.subscribe(["door"]):
            scene.offer(data=jpeg(10))
            await scene.drawn(1)
        scene.now += 60
        with scene.hub.subscribe(["door"]) as (feed,):
            assert feed.part == b"", "no JPEG is held without viewers"
            async with aclosing(scene.hub.stream(feed)) as parts:  # type: ignore[type-var]
                waiting = asyncio.create_task(take(parts))
                await asyncio.sleep(0.02)
                assert not waiting.done()
                scene.offer(data=jpeg(200))
                shown = (await waiting).partition(b"\r\n\r\n")[2]
                assert simplejpeg.decode_jpeg(shown, strict=False).mean() > 150

    run(go())


def test_multi_stream_carries_all_cameras() -> None:
    async def go() -> None:
        scene = Scene()
        with scene.hub.subscribe(["door", "shop"]) as feeds:
            async with aclosing(scene.hub.multi_stream(feeds, "door")) as parts:  # type: ignore[type-var]
                scene.offer("door")
                scene.offer("shop")
                both = await take(parts) + await take(parts)
                assert b"X-Camera: door" in both
                assert b"X-Camera: shop" in both
                assert both.startswith(b"--facestream")

    run(go())


def test_multi_stream_sends_the_primary_camera_at_full_rate() -> None:
    async def go() -> None:
        scene = Scene()
        with scene.hub.subscribe(["door", "shop"]) as feeds:
            got = []
            async with aclosing(scene.hub.multi_stream(feeds, "door")) as parts:  # type: ignore[type-var]
                for n in range(1, 7):
                    scene.offer("door")
                    scene.offer("shop")
                    await scene.drawn(n, "door")
                    await scene.drawn(n, "shop")
                    got.append(await take(parts))
                    if n == 1:
                        got.append(await take(parts))
                    scene.now += 0.02
            assert sum(b"X-Camera: door" in part for part in got) == 6
            assert sum(b"X-Camera: shop" in part for part in got) == 1

    run(go())


def test_snapshot_is_a_frame_from_after_the_request() -> None:
    async def go() -> None:
        scene = Scene()
        with scene.hub.subscribe(["door"]):
            scene.offer(data=jpeg(10))
            await scene.drawn(1)
            snapshot = asyncio.create_task(scene.hub.snapshot("door", 5))
            await asyncio.sleep(0.02)
            assert not snapshot.done()
            scene.offer(data=jpeg(200))
            jpeg_bytes, own = await snapshot
            assert own
            assert simplejpeg.decode_jpeg(jpeg_bytes).mean() > 150

    run(go())


def test_snapshot_of_a_camera_that_is_down_is_a_placeholder() -> None:
    async def go() -> None:
        scene = Scene()
        scene.state = "failed"
        jpeg_bytes, own = await scene.hub.snapshot("door", 0.05)
        assert not own
        assert simplejpeg.decode_jpeg(jpeg_bytes).shape == (720, 1280, 3)
        assert scene.hub.viewers == 0

    run(go())


def test_streams_of_a_removed_camera_end() -> None:
    async def go() -> None:
        scene = Scene()
        with scene.hub.subscribe(["door"]) as (feed,):
            ended = asyncio.create_task(_all(scene.hub.stream(feed)))
            multi = asyncio.create_task(_all(scene.hub.multi_stream([feed], "")))
            await asyncio.sleep(0.01)
            scene.hub.remove_camera("door")
            await asyncio.gather(ended, multi)

    async def _all(parts: AsyncIterator[bytes]) -> None:
        async for _ in parts:
            pass

    run(go())


def test_number_of_streams_is_limited() -> None:
    async def go() -> None:
        scene = Scene(max_video_streams=1)
        with scene.hub.subscribe(["door"]):
            assert scene.hub.viewers == 1
            with pytest.raises(StreamLimitError), scene.hub.subscribe(["door"]):
                pass
        assert scene.hub.viewers == 0

    run(go())
