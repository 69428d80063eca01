"""Tests of the demo camera's RTSP server with FFmpeg (PyAV) as the client, as in capture."""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Iterator

import av
import av.error
import pytest
from facestream.common.core.errors import StartError
from facestream.demo.h264_packetizer import CLOCK_HZ, AccessUnit, Clip
from facestream.demo.rtp_stream import MAX_UNSENT_BYTES
from facestream.demo.rtsp_server import RtspServer, running

from tests.fixtures.polling import wait_for
from tests.fixtures.stack import make_clip

FPS = 15


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    return Clip.load(make_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", seconds=2, fps=FPS))


@pytest.fixture(scope="module")
def server(clip: Clip) -> Iterator[RtspServer]:
    with running(RtspServer({"demo": clip, "side/door": clip}, port=0)) as server:
        yield server


def open_camera(url: str, transport: str = "tcp") -> av.container.InputContainer:
    low_latency = {"fflags": "nobuffer", "analyzeduration": "0", "probesize": "32"}
    return av.open(url, options={"rtsp_transport": transport, "timeout": "5000000", **low_latency})


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_frames_arrive_complete_and_in_real_time(server: RtspServer, transport: str) -> None:
    with open_camera(f"rtsp://127.0.0.1:{server.port}/demo", transport) as camera:
        frames = camera.decode(video=0)
        first = next(frames)
        assert (first.width, first.height) == (128, 96)
        began_s = time.monotonic()
        assert sum(1 for _ in itertools.islice(frames, FPS)) == FPS
        assert time.monotonic() - began_s == pytest.approx(1.0, abs=0.5)


def test_timestamps_continue_across_the_loop(server: RtspServer) -> None:
    with open_camera(f"rtsp://127.0.0.1:{server.port}/demo") as camera:
        times = [
            float(packet.pts * packet.time_base)
            for packet in itertools.islice(camera.demux(video=0), 3 * FPS)
            if packet.pts is not None
        ]
    steps = [after - before for before, after in itertools.pairwise(times)]
    assert len(times) > 2.5 * FPS  # more than the clip's length
    assert all(step == pytest.approx(1 / FPS, abs=0.001) for step in steps)


def test_twelve_clients_of_two_paths_all_get_frames(server: RtspServer) -> None:
    urls = [
        f"rtsp://127.0.0.1:{server.port}/{path}" for path in ("demo", "side/door") for _ in range(6)
    ]
    cameras = [open_camera(url) for url in urls]
    try:
        for camera in cameras:
            assert sum(1 for _ in itertools.islice(camera.decode(video=0), 5)) == 5
    finally:
        for camera in cameras:
            camera.close()


@pytest.mark.parametrize(
    ("userinfo", "accepted"), [("", False), ("u:wrong@", False), ("u:p%3Aw@", True)]
)
def test_only_the_right_password_is_accepted(clip: Clip, userinfo: str, accepted: bool) -> None:
    with running(RtspServer({"demo": clip}, port=0, credentials=("u", "p:w"))) as protected:
        url = f"rtsp://{userinfo}127.0.0.1:{protected.port}/demo"
        if accepted:
            with open_camera(url) as camera:
                assert next(camera.decode(video=0)).width == 128
        else:
            with pytest.raises(av.error.HTTPUnauthorizedError):
                open_camera(url)


def test_unknown_path_is_not_found(server: RtspServer) -> None:
    with pytest.raises(av.error.HTTPNotFoundError):
        open_camera(f"rtsp://127.0.0.1:{server.port}/other")


def test_invalid_request_is_rejected_and_other_clients_continue(server: RtspServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), 5) as client:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert client.recv(100).startswith(b"RTSP/1.0 400")
    with open_camera(f"rtsp://127.0.0.1:{server.port}/demo") as camera:
        assert next(camera.decode(video=0)).width == 128


def test_request_body_that_is_too_large_is_rejected(server: RtspServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), 5) as client:
        client.sendall(b"OPTIONS * RTSP/1.0\r\nCSeq: 7\r\nContent-Length: 1000000000\r\n\r\n")
        assert client.recv(64).startswith(b"RTSP/1.0 413 ")


def test_slow_client_loses_frames_and_its_queue_is_bounded() -> None:
    step, payloads = CLOCK_HZ // 50, (bytes(1400),) * 500
    units = tuple(AccessUnit(i * step, i * step, True, payloads) for i in range(10))
    heavy = Clip(units, 10 * step, 64, 64, b"sps0", b"pps0")  # 35 MB a second
    with running(RtspServer({"demo": heavy}, port=0)) as server:
        url = f"rtsp://127.0.0.1:{server.port}/demo"
        with socket.create_connection(("127.0.0.1", server.port), 5) as client:
            offer = "Transport: RTP/AVP/TCP;interleaved=0-1\r\n"
            for cseq, (method, extra) in enumerate([("SETUP", offer), ("PLAY", "")], start=1):
                client.sendall(f"{method} {url} RTSP/1.0\r\nCSeq: {cseq}\r\n{extra}\r\n".encode())
                assert client.recv(4096).startswith(b"RTSP/1.0 200")
            stream = server.stream("demo")
            assert stream is not None
            slow = next(iter(wait_for(lambda: stream.clients, "a client")))
            wait_for(lambda: slow.lost_frames > 5, "lost frames", 15)
            queued = slow.writer.transport.get_write_buffer_size()
        assert queued <= MAX_UNSENT_BYTES + 1420 * len(payloads)
        wait_for(lambda: not stream.clients, "the client removed")


def test_port_in_use_is_an_error(server: RtspServer, clip: Clip) -> None:
    second = RtspServer({"demo": clip}, port=server.port)
    with pytest.raises(StartError, match=f"127.0.0.1:{server.port}"), running(second):
        pass
