"""Sources of every kind, valid and bad: frames, or a reason that a user understands."""

from __future__ import annotations

import contextlib
import io
import logging
import socket
import threading
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from facestream.capture.sources.catch_up import LATE_PATIENCE_S, LATE_S
from facestream.capture.sources.ffmpeg_logging import redirect_ffmpeg_logging
from facestream.capture.sources.ffmpeg_source import SourceFrame, read_frames
from facestream.common.cameras.models import Camera
from facestream.common.core.errors import CameraError
from facestream.common.security import egress_policy
from facestream.common.security.egress_policy import ALLOW_ALL, EgressPolicy
from facestream.common.security.redaction import LogRedaction
from facestream.demo.h264_packetizer import Clip
from facestream.demo.rtsp_server import RtspServer, running

from tests.fixtures.stack import make_clip
from tests.fixtures.tcp_server import serving

FPS = 15
PASSWORD = "p@ss/wörd"
ESCAPED = "p%40ss%2Fw%C3%B6rd"

Handler = Callable[[socket.socket], None]


class Reading:
    """One attempt to read a camera."""

    def __init__(self) -> None:
        self.invalid = self.stale = 0
        self.egress_policy = ALLOW_ALL
        self.stop = threading.Event()

    def _count_invalid(self) -> None:
        self.invalid += 1

    def _count_stale(self) -> None:
        self.stale += 1

    def frames(
        self,
        url: str,
        count: int,
        *,
        each_s: float = 0.0,
        open_timeout_s: float = 1.0,
        read_timeout_s: float = 1.0,
        **more: object,
    ) -> list[SourceFrame]:
        """Read this many frames and spend `each_s` with each."""
        camera = Camera.model_validate({"name": "c", "url": url} | more)
        received: list[SourceFrame] = []
        frames = read_frames(
            camera,
            self.stop,
            egress_policy=self.egress_policy,
            open_timeout_s=open_timeout_s,
            read_timeout_s=read_timeout_s,
            on_invalid=self._count_invalid,
            on_stale=self._count_stale,
        )
        with contextlib.closing(frames) as source:  # type: ignore[type-var]
            for frame in source:
                received.append(frame)
                time.sleep(each_s)
                if len(received) == count:
                    break
        return received


@pytest.fixture
def reading() -> Reading:
    return Reading()


def _write_clip(file: Path, sizes: list[tuple[int, int]], frames: int = 8) -> Path:
    """Write an H.264 stream whose frame size changes."""
    with file.open("wb") as output:
        for width, height in sizes:
            context = av.CodecContext.create("libx264", "w")
            assert isinstance(context, av.VideoCodecContext)
            context.width, context.height, context.pix_fmt = width, height, "yuv420p"
            context.framerate, context.time_base = Fraction(FPS), Fraction(1, FPS)
            context.options = {"preset": "ultrafast", "tune": "zerolatency"}
            for i in range(frames):
                image = np.full((height, width, 3), 20 * i, np.uint8)
                frame = av.VideoFrame.from_ndarray(image, "bgr24")
                frame.pts = i
                for packet in context.encode(frame):
                    output.write(bytes(packet))
            for packet in context.encode(None):
                output.write(bytes(packet))
    return file


@pytest.fixture(scope="module")
def mp4(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("clips") / "clip.mp4"
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        stream.options = {"preset": "ultrafast", "tune": "zerolatency", "g": "5"}
        for i in range(FPS):
            image = np.full((240, 320, 3), 10 * i, np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(image, "bgr24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return file


def _stay_silent(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass


def _http(head: str, *bodies: bytes) -> Handler:
    def handle(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(f"HTTP/1.0 {head}\r\n\r\n".encode())
        for body in bodies:
            connection.sendall(body)
        connection.shutdown(socket.SHUT_WR)
        _stay_silent(connection)

    return handle


def _jpeg(value: int) -> bytes:
    image = np.full((120, 160, 3), value, np.uint8)
    image[::7] = 255
    return cv2.imencode(".jpg", image)[1].tobytes()


def _part(jpeg: bytes) -> bytes:
    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
    return head.encode() + jpeg + b"\r\n"


def test_rtsp_with_special_characters_in_the_password(reading: Reading, mp4: Path) -> None:
    server = RtspServer({"live": Clip.load(mp4)}, port=0, credentials=("ann", PASSWORD))
    with running(server):
        endpoint = f"127.0.0.1:{server.port}/live"
        assert len(reading.frames(f"rtsp://ann:{ESCAPED}@{endpoint}", 3)) == 3
        assert len(reading.frames(f"rtsp://ann:{ESCAPED}@{endpoint}", 3, transport="udp")) == 3
        with pytest.raises(CameraError, match="wrong user or password"):
            reading.frames(f"rtsp://ann:wrong-word@{endpoint}", 1)
        with pytest.raises(CameraError, match="add user and password"):
            reading.frames(f"rtsp://{endpoint}", 1)
        with pytest.raises(CameraError, match="no stream at /attic"):
            reading.frames(f"rtsp://ann:{ESCAPED}@127.0.0.1:{server.port}/attic", 1)


def test_a_scheme_is_case_insensitive(reading: Reading, mp4: Path) -> None:
    with running(RtspServer({"live": Clip.load(mp4)}, port=0)) as server:
        assert len(reading.frames(f"Rtsp://127.0.0.1:{server.port}/live", 3)) == 3


def test_the_read_timeout_may_exceed_the_open_timeout(reading: Reading, tmp_path: Path) -> None:
    clip = Clip.load(make_clip(tmp_path / "slow.mp4", seconds=6, fps=1, key_each=1))
    with running(RtspServer({"live": clip}, port=0)) as server:
        url = f"rtsp://127.0.0.1:{server.port}/live"
        assert len(reading.frames(url, 3, open_timeout_s=0.5, read_timeout_s=10.0)) == 3


def test_the_first_frame_does_not_wait_for_the_second_keyframe(reading: Reading, mp4: Path) -> None:
    with running(RtspServer({"live": Clip.load(mp4)}, port=0)) as server:
        began = time.monotonic()
        reading.frames(f"rtsp://127.0.0.1:{server.port}/live", 1)
        assert time.monotonic() - began < 1.5  # 1.9 s with the second keyframe


def test_mjpeg_over_http_as_phones_send_it(reading: Reading) -> None:
    parts = [_part(_jpeg(value)) for value in range(0, 250, 25)]
    head = "200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame"
    with serving(_http(head, *parts)) as port:
        frames = reading.frames(f"http://127.0.0.1:{port}/video", 9)
        assert (frames[0].video.width, frames[0].video.height) == (160, 120)
        with pytest.raises(CameraError, match="connection lost"):
            reading.frames(f"http://127.0.0.1:{port}/video", 99)


def test_a_truncated_jpeg_is_counted_and_the_next_one_is_decoded(reading: Reading) -> None:
    good = _jpeg(100)
    parts = [_part(good), _part(good[:40]), _part(b"\xff\xd8garbage"), _part(good), _part(good)]
    head = "200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame"
    with serving(_http(head, *parts)) as port:
        assert len(reading.frames(f"http://127.0.0.1:{port}/video", 3)) == 3
    assert reading.invalid >= 1


@pytest.mark.parametrize(
    ("handler", "url", "reason"),
    [
        (_stay_silent, "rtsp://{}/x", "no data for 1 s"),
        (_stay_silent, "http://{}/video", "no data for 1 s"),
        (_http("404 Not Found"), "http://{}/videos", "no stream at /videos"),
        (_http("401 Unauthorized\r\nWWW-Authenticate: Basic"), "http://a:bcde@{}/", "wrong user"),
        (_http("403 Forbidden"), "http://{}/video", "may not view"),
        (_http("503 Busy"), "http://{}/video", "HTTP error"),
        (_http("200 OK\r\nContent-Type: text/html", b"<html>"), "http://{}/", "this is a web page"),
        (_http("200 OK\r\nContent-Type: text/plain", b"hello"), "http://{}/", "not a video stream"),
    ],
)
def test_a_host_without_a_camera_is_reported_with_the_reason(
    reading: Reading, handler: Handler, url: str, reason: str
) -> None:
    with serving(handler) as port:
        endpoint = f"127.0.0.1:{port}"
        with pytest.raises(CameraError, match=reason) as caught:
            reading.frames(url.format(endpoint), 1)
    assert endpoint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_silent_stream_times_out(reading: Reading) -> None:
    def handle(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace;")
        connection.sendall(b"boundary=frame\r\n\r\n" + _part(_jpeg(9)) * 4)
        _stay_silent(connection)

    with serving(handle) as port, pytest.raises(CameraError, match="no data for 1 s"):
        reading.frames(f"http://127.0.0.1:{port}/video", 99)


def _stream_with_longer_audio(video_s: float, audio_s: float) -> list[bytes]:
    """Return an MPEG transport stream, in chunks of 0.1 s, whose video ends before its audio."""
    chunks, written = [], io.BytesIO()
    options = {"max_interleave_delta": "100000"}  # µs; else audio waits for video
    with av.open(written, "w", format="mpegts", options=options) as container:
        video = container.add_stream("libx264", rate=10)
        video.width, video.height, video.pix_fmt = 160, 120, "yuv420p"
        video.options = {"preset": "ultrafast", "tune": "zerolatency", "g": "5"}
        sound = container.add_stream("mp2", rate=48000, layout="mono")
        for i in range(round(audio_s * 10)):
            if i < video_s * 10:
                image = np.full((120, 160, 3), 10 * i, np.uint8)
                container.mux(video.encode(av.VideoFrame.from_ndarray(image, "bgr24")))
            noise = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.int16), "s16", "mono")
            noise.sample_rate, noise.pts, noise.time_base = 48000, i * 4800, Fraction(1, 48000)
            container.mux(sound.encode(noise))
            chunks.append(written.getvalue())
            written.seek(0)
            written.truncate()
    return chunks


def test_a_file_with_audio_first_is_looped_with_its_last_frames(
    reading: Reading, tmp_path: Path
) -> None:
    file = tmp_path / "clip.mkv"
    with av.open(str(file), "w") as container:
        sound = container.add_stream("mp2", rate=48000, layout="mono")
        video = container.add_stream("libx264", rate=FPS)
        video.width, video.height, video.pix_fmt = 160, 120, "yuv420p"
        video.options = {"bf": "2"}  # the last frames need a flush of the decoder
        for i in range(8):
            image = np.full((120, 160, 3), 30 * i, np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(image, "bgr24")))
            noise = av.AudioFrame.from_ndarray(np.zeros((1, 3200), np.int16), "s16", "mono")
            noise.sample_rate, noise.pts, noise.time_base = 48000, i * 3200, Fraction(1, 48000)
            container.mux(sound.encode(noise))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))
    shades = [
        int(frame.video.to_ndarray(format="gray").mean())
        for frame in reading.frames(f"file://{file}", 16)
    ]
    assert shades[8:] == pytest.approx(shades[:8], abs=2)
    assert shades[:8] == sorted(shades[:8])
    assert shades[7] > 190


def test_a_stream_whose_video_ends_before_its_audio_times_out(reading: Reading) -> None:
    chunks = _stream_with_longer_audio(1.0, 4.0)

    def handle(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: video/mp2t\r\n\r\n")
        for chunk in chunks:
            connection.sendall(chunk)
            time.sleep(0.1)

    with (
        serving(handle) as port,
        pytest.raises(CameraError, match="no frame could be decoded for 1 s"),
    ):
        reading.frames(f"http://127.0.0.1:{port}/video", 99)


def test_a_closed_port(reading: Reading) -> None:
    with pytest.raises(CameraError, match=r"127\.0\.0\.1:9: connection refused"):
        reading.frames("rtsp://127.0.0.1:9/x", 1)


def test_a_host_that_does_not_exist(reading: Reading) -> None:
    with pytest.raises(CameraError, match="no such host"):
        reading.frames("rtsp://camera.invalid/x", 1)


def test_a_stream_with_audio_only(reading: Reading, tmp_path: Path) -> None:
    file = tmp_path / "sound.wav"
    with av.open(str(file), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), "s16", "mono")
        sound.sample_rate = 8000
        for packet in stream.encode(sound):
            container.mux(packet)
    with pytest.raises(CameraError, match="no video, only audio"):
        reading.frames(f"file://{file}", 1)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("file:///nowhere/film.mp4", "does not exist"),
        ("file:///etc/passwd", "not a video"),
        ("device:///dev/video77", "/dev/video77"),
    ],
)
def test_a_local_source_that_cannot_be_read(reading: Reading, url: str, reason: str) -> None:
    with pytest.raises(CameraError, match=reason):
        reading.frames(url, 1)


def test_a_slow_reader_drops_late_packets(reading: Reading, mp4: Path) -> None:
    with running(RtspServer({"live": Clip.load(mp4)}, port=0)) as server:
        frames = reading.frames(f"rtsp://127.0.0.1:{server.port}/live", 14, each_s=0.4)
    second, last = frames[1], frames[-1]  # the first one has no timestamp
    assert second.video.time is not None
    assert last.video.time is not None
    lateness_s = (last.received_at - second.received_at) - (last.video.time - second.video.time)
    assert lateness_s < LATE_S + LATE_PATIENCE_S + 0.5  # 4.0 s without drops
    assert reading.stale > 0


def test_a_file_is_paced_and_looped(reading: Reading, mp4: Path) -> None:
    began = time.monotonic()
    frames = reading.frames(f"file://{mp4}", FPS + 4)
    took_s = time.monotonic() - began
    assert len(frames) == FPS + 4
    assert 1.1 < took_s < 2.5  # 19 frames at 15 fps


def test_a_stream_that_changes_its_frame_size(reading: Reading, tmp_path: Path) -> None:
    file = _write_clip(tmp_path / "sizes.h264", [(320, 240), (640, 360)])
    sizes = [(f.video.width, f.video.height) for f in reading.frames(f"file://{file}", 16)]
    assert sizes == [(320, 240)] * 8 + [(640, 360)] * 8


def test_garbage_in_the_stream_is_skipped(reading: Reading, tmp_path: Path) -> None:
    file = _write_clip(tmp_path / "clip.h264", [(320, 240)], frames=12)
    data = file.read_bytes()
    garbage = np.random.default_rng(0).integers(0, 256, 4000, np.uint8).tobytes()
    file.write_bytes(data + garbage + data)
    assert len(reading.frames(f"file://{file}", 20)) == 20


def test_passwords_are_in_no_log_line_and_no_reason(
    reading: Reading,
) -> None:
    redirect_ffmpeg_logging()
    lines: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    handler = Collect()
    handler.addFilter(LogRedaction())
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        for url in (f"rtsp://ann:{ESCAPED}@127.0.0.1:9/x", f"http://ann:{ESCAPED}@127.0.0.1:9/x"):
            with pytest.raises(CameraError) as caught:
                reading.frames(url, 1)
            lines.append(str(caught.value))
    finally:
        root.removeHandler(handler)
        root.setLevel(before)
    assert any("FFmpeg" in line for line in lines)
    assert not any(PASSWORD in line or ESCAPED in line for line in lines)


def test_a_camera_added_at_run_time_cannot_reach_this_machine(reading: Reading) -> None:
    requests: list[bytes] = []
    reading.egress_policy = EgressPolicy("a camera", loopback_setting="THE_SETTING=true")
    with serving(lambda connection: requests.append(connection.recv(4096))) as port:
        for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0"):
            for scheme in ("rtsp", "rtsps", "http", "https"):
                with pytest.raises(CameraError, match="THE_SETTING=true"):
                    reading.frames(f"{scheme}://{host}:{port}/video", 1)
    assert requests == []


def test_dns_rebinding_is_prevented(reading: Reading, monkeypatch: pytest.MonkeyPatch) -> None:
    """FFmpeg gets the address that was checked, and the host name for the Host header only."""
    requests: list[bytes] = []
    head = "200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame"

    def handle(connection: socket.socket) -> None:
        requests.append(connection.recv(4096))
        connection.sendall(f"HTTP/1.0 {head}\r\n\r\n".encode() + _part(_jpeg(9)) * 3)
        connection.shutdown(socket.SHUT_WR)

    monkeypatch.setattr(egress_policy, "_resolve", lambda host, port: ["127.0.0.1"])
    reading.egress_policy = EgressPolicy("a camera", allow_loopback=True)
    with serving(handle) as port:
        reading.frames(f"http://ann:pass@camera.invalid:{port}/video", 1)
        assert f"\r\nHost: camera.invalid:{port}\r\n".encode() in requests[0]
        assert requests[0].count(b"Host:") == 1


def test_all_addresses_of_a_host_name_are_tried(
    reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(egress_policy, "_resolve", lambda host, port: ["127.0.0.2", "127.0.0.1"])
    reading.egress_policy = EgressPolicy("a camera", allow_loopback=True)
    head = "200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame"
    with serving(_http(head, *[_part(_jpeg(9))] * 3)) as port:
        assert reading.frames(f"http://camera.invalid:{port}/video", 1)
        assert reading.frames(f"http://camera.invalid:{port}/video", 1)
    with pytest.raises(CameraError, match="connection refused"):
        reading.frames(f"http://camera.invalid:{port}/video", 1)


def test_a_playlist_cannot_lead_to_this_machine(reading: Reading) -> None:
    requests: list[bytes] = []
    reading.egress_policy = EgressPolicy(
        "a camera", allow_loopback=True
    )  # for the server of the playlist
    with serving(lambda connection: requests.append(connection.recv(4096))) as internal_port:
        target = f"http://127.0.0.1:{internal_port}/secret"
        playlist = (
            '#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS="avc1.42e01e"\n'
            f"{target}.m3u8\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{target}.ts\n"
        )
        head = "200 OK\r\nContent-Type: application/vnd.apple.mpegurl"
        with serving(_http(head, playlist.encode())) as port, pytest.raises(CameraError):
            reading.frames(f"http://127.0.0.1:{port}/video.m3u8", 1)
    assert requests == []


def test_a_redirect_cannot_lead_to_this_machine(reading: Reading) -> None:
    requests: list[bytes] = []
    reading.egress_policy = EgressPolicy(
        "a camera", allow_loopback=True
    )  # for the server that redirects
    with serving(lambda connection: requests.append(connection.recv(4096))) as internal_port:
        redirect = f"302 Found\r\nLocation: http://127.0.0.1:{internal_port}/secret"
        with serving(_http(redirect)) as port, pytest.raises(CameraError):
            reading.frames(f"http://127.0.0.1:{port}/video", 1)
    assert requests == []
