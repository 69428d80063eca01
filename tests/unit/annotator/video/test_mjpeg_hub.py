"""Pictures to viewers: one drawing a frame, newest first, slow ones skip."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import aclosing
from typing import Any

import numpy as np
import pytest
import simplejpeg
from facestream.annotator.metrics import AnnotatorMetrics
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
    """A studio with a clock of its own and one state for all cameras."""

    def __init__(self, max_video_streams: int = 8) -> None:
        self.registry = CollectorRegistry()
        self.now = 100.0
        self.state: CameraState = "live"
        self.hub = MjpegHub(
            AnnotatorMetrics(self.registry),
            80,
            max_video_streams,
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


def test_nobody_watching_nothing_is_drawn() -> None:
    async def go() -> None:
        scene = Scene()
        scene.offer()
        await asyncio.sleep(0.05)
        assert scene.count("frames_annotated_total", camera="door") == 0
        assert scene.hub.watched() == []

    run(go())


def test_a_viewer_gets_parts_that_a_browser_shows_at_once() -> None:
    async def go() -> None:
        scene = Scene()
        with scene.hub.subscribe(["door"]) as (channel,):
            assert scene.hub.watched() == ["door"]
            async with aclosing(scene.hub.stream(channel)) as parts:  # type: ignore[type-var]
                scene.offer()
                part = await take(parts)
        head, _, body = part.partition(b"\r\n\r\n")
        assert head.startswith(b"--facestream\r\nContent-Type: image/jpeg")
        assert b"X-Camera: door" in head
        assert body.endswith(b"\r\n--facestream\r\n")
        picture = body.removesuffix(b"\r\n--facestream\r\n")
        assert b"Content-Length: %d\r\n" % len(picture) in head
        assert simplejpeg.decode_jpeg(picture).shape == (64, 96, 3)
        assert scene.count("video_streams", camera="door") == 0

    run(go())


def test_a_frame_is_drawn_once_however_many_watch() -> None:
    async def go() -> None:
        scene = Scene()
        with scene.hub.subscribe(["door"]) as (channel,), scene.hub.subscribe(["door"]):
            first, second = scene.hub.stream(channel), scene.hub.stream(channel)
            scene.offer()
            parts = await asyncio.gather(take(first), take(second))
            assert parts[0] == parts[1]
            assert scene.count("frames_annotated_total", camera="door") == 1
            assert scene.count("video_streams", camera="door") == 2
            await asyncio.gather(first.aclose(), second.aclose())  # type: ignore[attr-defined]

    run(go())


def test_a_slow_viewer_skips_to_the_newest_and_that_is_counted() -> None:
    async def go() -> None:
        scene = Scene()
        with scene.hub.subscribe(["door"]) as (channel,):
            async with aclosing(scene.hub.stream(channel)) as parts:  # type: ignore[type-var]
                scene.offer()
                await take(parts)
                for n in range(2, 7):
                    scene.offer(data=jpeg(20 * n))
                    await scene.drawn(n)
                assert channel.part == (await take(parts))
                assert scene.count("stream_frames_skipped_total", camera="door") == 4

    run(go())


def test_frames_faster_than_the_drawing_are_dropped_and_counted() -> None:
    async def go() -> None:
        scene = Scene()
        with scene.hub.subscribe(["door"]):
            for _ in range(10):
                scene.offer()
            await scene.drawn(1)
            dropped = scene.count("frames_dropped_total", camera="door", reason="superseded")
            assert dropped == 9

    run(go())


def test_a_corrupt_picture_is_counted_and_the_next_one_shown() -> None:
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
def test_viewers_of_a_camera_that_is_down_see_a_notice(state: CameraState) -> None:
    async def go() -> None:
        scene = Scene()
        scene.state = state
        with scene.hub.subscribe(["door"]) as (channel,):
            scene.now += 0.6
            await scene.hub.publish_placeholders()
            assert channel.seq == 1
            assert simplejpeg.decode_jpeg(channel.jpeg).shape == (720, 1280, 3)

    run(go())


def test_a_live_camera_shows_a_notice_only_once_it_is_silent() -> None:
    async def go() -> None:
        scene = Scene()
        with scene.hub.subscribe(["door"]) as (channel,):
            scene.offer()
            await scene.drawn(1)
            scene.now += 1.9
            await scene.hub.publish_placeholders()
            assert channel.seq == 1
            scene.now += 0.2
            await scene.hub.publish_placeholders()
            assert channel.seq == 2

    run(go())


def test_a_late_viewer_does_not_see_the_picture_of_the_last_visit() -> None:
    async def go() -> None:
        scene = Scene()
        with scene.hub.subscribe(["door"]):
            scene.offer(data=jpeg(10))
            await scene.drawn(1)
        scene.now += 60
        with scene.hub.subscribe(["door"]) as (channel,):
            assert channel.part == b"", "no picture is kept that nobody looks at"
            async with aclosing(scene.hub.stream(channel)) as parts:  # type: ignore[type-var]
                waiting = asyncio.create_task(take(parts))
                await asyncio.sleep(0.02)
                assert not waiting.done()
                scene.offer(data=jpeg(200))
                shown = (await waiting).partition(b"\r\n\r\n")[2]
                assert simplejpeg.decode_jpeg(shown, strict=False).mean() > 150

    run(go())


def test_one_answer_carries_the_pictures_of_all_cameras() -> None:
    async def go() -> None:
        scene = Scene()
        with scene.hub.subscribe(["door", "shop"]) as channels:
            async with aclosing(scene.hub.multi_stream(channels, "door")) as parts:  # type: ignore[type-var]
                scene.offer("door")
                scene.offer("shop")
                both = await take(parts) + await take(parts)
                assert b"X-Camera: door" in both
                assert b"X-Camera: shop" in both
                assert both.startswith(b"--facestream")

    run(go())


def test_on_a_wall_the_large_camera_comes_at_its_full_rate_and_others_less_often() -> None:
    async def go() -> None:
        scene = Scene()
        with scene.hub.subscribe(["door", "shop"]) as channels:
            got = []
            async with aclosing(scene.hub.multi_stream(channels, "door")) as parts:  # type: ignore[type-var]
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


def test_a_snapshot_is_a_picture_taken_after_it_was_asked_for() -> None:
    async def go() -> None:
        scene = Scene()
        with scene.hub.subscribe(["door"]):
            scene.offer(data=jpeg(10))
            await scene.drawn(1)
            asked = asyncio.create_task(scene.hub.snapshot("door", 5))
            await asyncio.sleep(0.02)
            assert not asked.done()
            scene.offer(data=jpeg(200))
            picture, own = await asked
            assert own
            assert simplejpeg.decode_jpeg(picture).mean() > 150

    run(go())


def test_a_snapshot_of_a_camera_that_is_down_is_a_notice_in_time() -> None:
    async def go() -> None:
        scene = Scene()
        scene.state = "failed"
        picture, own = await scene.hub.snapshot("door", 0.05)
        assert not own
        assert simplejpeg.decode_jpeg(picture).shape == (720, 1280, 3)
        assert scene.hub.viewers == 0

    run(go())


def test_viewers_of_a_removed_camera_end() -> None:
    async def go() -> None:
        scene = Scene()
        with scene.hub.subscribe(["door"]) as (channel,):
            ended = asyncio.create_task(_all(scene.hub.stream(channel)))
            multi = asyncio.create_task(_all(scene.hub.multi_stream([channel], "")))
            await asyncio.sleep(0.01)
            scene.hub.remove_camera("door")
            await asyncio.gather(ended, multi)

    async def _all(parts: AsyncIterator[bytes]) -> None:
        async for _ in parts:
            pass

    run(go())


def test_places_are_bounded() -> None:
    async def go() -> None:
        scene = Scene(max_video_streams=1)
        with scene.hub.subscribe(["door"]):
            assert scene.hub.is_full()
        assert not scene.hub.is_full()

    run(go())
