"""Cameras that send garbage: capture survives, reports a reason, and reads the others."""

from __future__ import annotations

import contextlib
import os
import random
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import redis
from facestream.capture.sources.ffmpeg_source import read_frames
from facestream.common.cameras.models import Camera, CameraStatus
from facestream.common.cameras.registry import CameraRegistry
from facestream.common.core.errors import CameraError
from facestream.common.core.paths import CHECKOUT
from facestream.common.security.egress_policy import ALLOW_ALL
from facestream.demo.h264_packetizer import Clip
from facestream.demo.rtsp_protocol import format_sdp
from facestream.demo.rtsp_server import RtspServer, running

from tests.fixtures.bad_camera import (
    jpeg_claiming,
    send_jpegs,
    sequence_parameters,
    speak_mjpeg,
    speak_rtsp,
)
from tests.fixtures.polling import wait_for
from tests.fixtures.stack import make_clip
from tests.fixtures.tcp_server import serving

SEED = 20_240_601
FRAMES = 20
HUGE_PX = 8176  # 100 MB per frame, and several of them while one is decoded
CAPTURE_MB = 250


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    return Clip.load(make_clip(tmp_path_factory.mktemp("clips") / "clip.mp4"))


def speaker(clip: Clip, seed: int) -> tuple[str, Callable[[socket.socket], None]]:
    """Return the scheme and the protocol handler of a bad camera; random for each client."""
    rng = random.Random(seed)
    if seed % 4 == 3:
        return "http", lambda connection: speak_mjpeg(rng, connection)
    return "rtsp", lambda connection: speak_rtsp(rng, clip, connection)


def read(url: str) -> str:
    """Read up to `FRAMES` frames of a camera; return the error message, or an empty string."""
    camera = Camera.model_validate({"name": "bad", "url": url})
    frames = read_frames(
        camera,
        threading.Event(),
        egress_policy=ALLOW_ALL,
        open_timeout_s=0.5,
        read_timeout_s=0.5,
        on_invalid=lambda: None,
        on_stale=lambda: None,
    )
    with contextlib.closing(frames) as source:  # type: ignore[type-var]
        try:
            for count, _ in enumerate(source):
                if count == FRAMES:
                    return ""
        except CameraError as error:
            return str(error)
    return ""


def try_seeds(clip: Clip, seeds: range) -> list[str]:
    """Read one bad camera per seed; return the error messages."""
    errors = []
    for seed in seeds:
        scheme, speak = speaker(clip, seed)
        with serving(speak) as port:
            error = read(f"{scheme}://127.0.0.1:{port}/live")
        assert "\n" not in error, seed
        errors.append(error)
    return errors


def test_a_bad_camera_yields_frames_or_a_reason(clip: Clip) -> None:
    errors = try_seeds(clip, range(SEED, SEED + 12))
    assert len(set(errors)) > 3, "the cameras fail in different ways"


def test_an_unknown_codec_is_reported(clip: Clip) -> None:
    description = format_sdp(clip).replace("H264/90000", "odd/90000")
    with serving(lambda c: speak_rtsp(random.Random(1), clip, c, description)) as port:
        assert "choose H.264" in read(f"rtsp://127.0.0.1:{port}/live")


@pytest.mark.slow
def test_many_bad_cameras_yield_frames_or_a_reason(clip: Clip) -> None:
    assert len(set(try_seeds(clip, range(300)))) > 5


class Capture:
    """A capture process with these cameras."""

    def __init__(self, broker_url: str, cameras: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "facestream", "capture"],
            cwd=CHECKOUT,
            env={
                **os.environ,
                "FACESTREAM_BROKER": broker_url,
                "FACESTREAM_CAMERAS": " ".join(f"{name}={url}" for name, url in cameras.items()),
                "FACESTREAM_CAPTURE_HEALTH_PORT": "0",
                "FACESTREAM_CAPTURE_OPEN_TIMEOUT_S": "1",
                "FACESTREAM_CAPTURE_READ_TIMEOUT_S": "1",
                "FACESTREAM_CAPTURE_MAX_CAMERAS": "64",
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.redis = redis.Redis.from_url(broker_url)
        self.failed: dict[str, str] = {}  # reasons of cameras that have failed

    def statuses(self) -> dict[str, CameraStatus]:
        """Return the statuses by camera."""
        found = {status.name: status for status in CameraRegistry(self.redis).statuses()}
        self.failed |= {name: s.reason for name, s in found.items() if s.state == "failed"}
        return found

    def peak_mb(self) -> float:
        """Return the peak memory of the process."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        peak = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert peak is not None
        return int(peak[1]) / 1024


@contextmanager
def capturing(broker_url: str, cameras: dict[str, str]) -> Iterator[Capture]:
    with redis.Redis.from_url(broker_url) as client:
        client.flushall()
    capture = Capture(broker_url, cameras)
    try:
        yield capture
        assert capture.process.poll() is None, "capture has died"
    finally:
        capture.process.terminate()
        assert capture.process.wait(15) == 0
        capture.redis.close()


def check_live_among(clip: Clip, broker_url: str, bad: int, seconds: float) -> None:
    """Run bad cameras beside a good one, and check that only the bad ones fail, with reasons."""
    with ExitStack() as stack:
        server = stack.enter_context(running(RtspServer({"live": clip}, port=0)))
        cameras = {"good": f"rtsp://127.0.0.1:{server.port}/live"}
        for seed in range(bad):
            scheme, speak = speaker(clip, SEED + seed)
            port = stack.enter_context(serving(speak))
            cameras[f"bad-{seed}"] = f"{scheme}://127.0.0.1:{port}/live"
        capture = stack.enter_context(capturing(broker_url, cameras))
        end = time.monotonic() + seconds
        wait_for(
            lambda: capture.statuses() and len(capture.failed) == bad and time.monotonic() > end,
            "every bad camera has failed",
            seconds + 30,
        )
        assert "good" not in capture.failed
        reasons = capture.failed.values()
        assert all(reason and "unexpected" not in reason for reason in reasons), capture.failed
        assert capture.statuses()["good"].state == "live"


def test_capture_survives_bad_cameras(clip: Clip, broker_url: str) -> None:
    check_live_among(clip, broker_url, bad=4, seconds=0)


@pytest.mark.slow
def test_capture_survives_many_bad_cameras(clip: Clip, broker_url: str) -> None:
    check_live_among(clip, broker_url, bad=40, seconds=120)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_too_large_frames_are_rejected_before_they_take_memory(clip: Clip, broker_url: str) -> None:
    jpeg = jpeg_claiming(HUGE_PX, HUGE_PX, HUGE_PX * HUGE_PX // 256)
    parameters = sequence_parameters(HUGE_PX, HUGE_PX)
    units = tuple(
        replace(unit, payloads=tuple(parameters if p[0] & 31 == 7 else p for p in unit.payloads))
        for unit in clip.units
    )
    video = RtspServer({"live": replace(clip, sps=parameters, units=units)}, port=0)
    with (
        serving(lambda connection: send_jpegs(connection, [jpeg] * 4)) as port,
        running(video),
    ):
        cameras = {
            "jpeg": f"http://127.0.0.1:{port}/video",
            "video": f"rtsp://127.0.0.1:{video.port}/live",
        }
        with capturing(broker_url, cameras) as capture:
            wait_for(lambda: capture.statuses() and len(capture.failed) == 2, "both have failed")
            assert "8176×8176 exceed 16.8 megapixels" in capture.failed["video"]
            assert capture.peak_mb() < CAPTURE_MB
