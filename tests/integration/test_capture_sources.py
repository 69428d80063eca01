"""Every kind of camera, and every kind of bad one: frames come, or a reason a user understands."""

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
from facestream.capture.sources.catch_up import LATE_S, PATIENCE_S
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

Answer = Callable[[socket.socket], None]


class Reading:
    """One attempt to read a camera."""

    def __init__(self) -> None:
        self.corrupt = self.late = 0
        self.reach = ALLOW_ALL
        self.stop = threading.Event()

    def _count(self) -> None:
        self.corrupt += 1

    def _count_late(self) -> None:
        self.late += 1

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
        """So many frames; something that takes `each_s` is done with each."""
        camera = Camera.model_validate({"name": "c", "url": url} | more)
        found: list[SourceFrame] = []
        frames = read_frames(
            camera,
            self.stop,
            reach=self.reach,
            open_timeout_s=open_timeout_s,
            read_timeout_s=read_timeout_s,
            on_corrupt=self._count,
            on_late=self._count_late,
        )
        with contextlib.closing(frames) as source:  # type: ignore[type-var]
            for frame in source:
                found.append(frame)
                time.sleep(each_s)
                if len(found) == count:
                    break
        return found


@pytest.fixture
def reading() -> Reading:
    return Reading()


def _write_clip(file: Path, sizes: list[tuple[int, int]], frames: int = 8) -> Path:
    """An H.264 stream whose size changes on the way."""
    with file.open("wb") as output:
        for width, height in sizes:
            context = av.CodecContext.create("libx264", "w")
            assert isinstance(context, av.VideoCodecContext)
            context.width, context.height, context.pix_fmt = width, height, "yuv420p"
            context.framerate, context.time_base = Fraction(FPS), Fraction(1, FPS)
            context.options = {"preset": "ultrafast", "tune": "zerolatency"}
            for i in range(frames):
                picture = np.full((height, width, 3), 20 * i, np.uint8)
                frame = av.VideoFrame.from_ndarray(picture, "bgr24")
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
            picture = np.full((240, 320, 3), 10 * i, np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, "bgr24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return file


def _say_nothing(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass


def _http(head: str, *bodies: bytes) -> Answer:
    def answer(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(f"HTTP/1.0 {head}\r\n\r\n".encode())
        for body in bodies:
            connection.sendall(body)
        connection.shutdown(socket.SHUT_WR)
        _say_nothing(connection)

    return answer


def _jpeg(value: int) -> bytes:
    picture = np.full((120, 160, 3), value, np.uint8)
    picture[::7] = 255
    return cv2.imencode(".jpg", picture)[1].tobytes()


def _part(jpeg: bytes) -> bytes:
    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
    return head.encode() + jpeg + b"\r\n"


def test_rtsp_with_a_password_of_any_letters(reading: Reading, mp4: Path) -> None:
    server = RtspServer({"live": Clip.load(mp4)}, port=0, credentials=("ann", PASSWORD))
    with running(server):
        place = f"127.0.0.1:{server.port}/live"
        assert len(reading.frames(f"rtsp://ann:{ESCAPED}@{place}", 3)) == 3
        assert len(reading.frames(f"rtsp://ann:{ESCAPED}@{place}", 3, transport="udp")) == 3
        with pytest.raises(CameraError, match="wrong user or password"):
            reading.frames(f"rtsp://ann:wrong-word@{place}", 1)
        with pytest.raises(CameraError, match="wants a user and password"):
            reading.frames(f"rtsp://{place}", 1)
        with pytest.raises(CameraError, match="nothing at /attic"):
            reading.frames(f"rtsp://ann:{ESCAPED}@127.0.0.1:{server.port}/attic", 1)


def test_a_scheme_may_be_written_in_capitals(reading: Reading, mp4: Path) -> None:
    with running(RtspServer({"live": Clip.load(mp4)}, port=0)) as server:
        assert len(reading.frames(f"Rtsp://127.0.0.1:{server.port}/live", 3)) == 3


def test_a_camera_may_be_silent_for_longer_than_it_may_take_to_open(
    reading: Reading, tmp_path: Path
) -> None:
    clip = Clip.load(make_clip(tmp_path / "slow.mp4", seconds=6, fps=1, key_each=1))
    with running(RtspServer({"live": clip}, port=0)) as server:
        url = f"rtsp://127.0.0.1:{server.port}/live"
        assert len(reading.frames(url, 3, open_timeout_s=0.5, read_timeout_s=10.0)) == 3


def test_the_first_frame_does_not_wait_for_the_second_key_frame(
    reading: Reading, mp4: Path
) -> None:
    with running(RtspServer({"live": Clip.load(mp4)}, port=0)) as server:
        began = time.monotonic()
        reading.frames(f"rtsp://127.0.0.1:{server.port}/live", 1)
        assert time.monotonic() - began < 1.5  # waiting for the second one it took 1.9 s


def test_mjpeg_over_http_as_phones_send_it(reading: Reading) -> None:
    parts = [_part(_jpeg(value)) for value in range(0, 250, 25)]
    head = "200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame"
    with serving(_http(head, *parts)) as port:
        frames = reading.frames(f"http://127.0.0.1:{port}/video", 9)
        assert (frames[0].video.width, frames[0].video.height) == (160, 120)
        with pytest.raises(CameraError, match="broke off"):
            reading.frames(f"http://127.0.0.1:{port}/video", 99)


def test_a_truncated_jpeg_is_counted_and_the_next_one_is_shown(reading: Reading) -> None:
    good = _jpeg(100)
    parts = [_part(good), _part(good[:40]), _part(b"\xff\xd8rubbish"), _part(good), _part(good)]
    head = "200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame"
    with serving(_http(head, *parts)) as port:
        assert len(reading.frames(f"http://127.0.0.1:{port}/video", 3)) == 3
    assert reading.corrupt >= 1


@pytest.mark.parametrize(
    ("answer", "url", "said"),
    [
        (_say_nothing, "rtsp://{}/x", "says nothing for 1 s"),
        (_say_nothing, "http://{}/video", "says nothing for 1 s"),
        (_http("404 Not Found"), "http://{}/videos", "nothing at /videos"),
        (_http("401 Unauthorized\r\nWWW-Authenticate: Basic"), "http://a:bcde@{}/", "wrong user"),
        (_http("403 Forbidden"), "http://{}/video", "not allowed"),
        (_http("503 Busy"), "http://{}/video", "answers with an error"),
        (_http("200 OK\r\nContent-Type: text/html", b"<html>"), "http://{}/", "not a video"),
    ],
)
def test_a_host_that_is_no_camera_is_named_with_the_reason(
    reading: Reading, answer: Answer, url: str, said: str
) -> None:
    with serving(answer) as port:
        place = f"127.0.0.1:{port}"
        with pytest.raises(CameraError, match=said) as caught:
            reading.frames(url.format(place), 1)
    assert place in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_stream_that_falls_silent_is_given_up(reading: Reading) -> None:
    def answer(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace;")
        connection.sendall(b"boundary=frame\r\n\r\n" + _part(_jpeg(9)) * 4)
        _say_nothing(connection)

    with serving(answer) as port, pytest.raises(CameraError, match="nothing came for 1 s"):
        reading.frames(f"http://127.0.0.1:{port}/video", 99)


def _sound_that_goes_on(pictures_s: float, sound_s: float) -> list[bytes]:
    """An MPEG transport stream, in pieces of 0.1 s, whose pictures end before its sound does."""
    pieces, written = [], io.BytesIO()
    at_once = {"max_interleave_delta": "100000"}  # µs; else sound waits for pictures
    with av.open(written, "w", format="mpegts", options=at_once) as container:
        video = container.add_stream("libx264", rate=10)
        video.width, video.height, video.pix_fmt = 160, 120, "yuv420p"
        video.options = {"preset": "ultrafast", "tune": "zerolatency", "g": "5"}
        sound = container.add_stream("mp2", rate=48000, layout="mono")
        for i in range(round(sound_s * 10)):
            if i < pictures_s * 10:
                picture = np.full((120, 160, 3), 10 * i, np.uint8)
                container.mux(video.encode(av.VideoFrame.from_ndarray(picture, "bgr24")))
            noise = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.int16), "s16", "mono")
            noise.sample_rate, noise.pts, noise.time_base = 48000, i * 4800, Fraction(1, 48000)
            container.mux(sound.encode(noise))
            pieces.append(written.getvalue())
            written.seek(0)
            written.truncate()
    return pieces


def test_a_file_whose_sound_comes_first_is_looped_with_its_last_pictures(
    reading: Reading, tmp_path: Path
) -> None:
    file = tmp_path / "clip.mkv"
    with av.open(str(file), "w") as container:
        sound = container.add_stream("mp2", rate=48000, layout="mono")
        video = container.add_stream("libx264", rate=FPS)
        video.width, video.height, video.pix_fmt = 160, 120, "yuv420p"
        video.options = {"bf": "2"}  # the last pictures come out when the decoder is flushed
        for i in range(8):
            picture = np.full((120, 160, 3), 30 * i, np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, "bgr24")))
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


def test_pictures_that_end_while_the_sound_goes_on_are_given_up(reading: Reading) -> None:
    pieces = _sound_that_goes_on(1.0, 4.0)

    def answer(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: video/mp2t\r\n\r\n")
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(0.1)

    with serving(answer) as port, pytest.raises(CameraError, match="for 1 s no picture could be"):
        reading.frames(f"http://127.0.0.1:{port}/video", 99)


def test_a_port_where_nobody_listens(reading: Reading) -> None:
    with pytest.raises(CameraError, match=r"127\.0\.0\.1:9 refuses the connection"):
        reading.frames("rtsp://127.0.0.1:9/x", 1)


def test_a_host_that_does_not_exist(reading: Reading) -> None:
    with pytest.raises(CameraError, match="no such host"):
        reading.frames("rtsp://camera.invalid/x", 1)


def test_a_stream_with_sound_only(reading: Reading, tmp_path: Path) -> None:
    file = tmp_path / "sound.wav"
    with av.open(str(file), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), "s16", "mono")
        sound.sample_rate = 8000
        for packet in stream.encode(sound):
            container.mux(packet)
    with pytest.raises(CameraError, match="no picture, only audio"):
        reading.frames(f"file://{file}", 1)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("file:///nowhere/film.mp4", "does not exist"),
        ("file:///etc/passwd", "not a video"),
        ("device:///dev/video77", "/dev/video77"),
    ],
)
def test_a_local_source_that_cannot_be_read(reading: Reading, url: str, said: str) -> None:
    with pytest.raises(CameraError, match=said):
        reading.frames(url, 1)


def test_who_is_too_slow_for_a_camera_leaves_out_what_is_late(reading: Reading, mp4: Path) -> None:
    with running(RtspServer({"live": Clip.load(mp4)}, port=0)) as server:
        frames = reading.frames(f"rtsp://127.0.0.1:{server.port}/live", 14, each_s=0.4)
    second, last = frames[1], frames[-1]  # the first one has no stamp
    assert second.video.time is not None
    assert last.video.time is not None
    late_s = (last.at - second.at) - (last.video.time - second.video.time)
    assert late_s < LATE_S + PATIENCE_S + 0.5  # 4.0 s where nothing is left out
    assert reading.late > 0


def test_a_file_runs_in_real_time_and_again_from_the_start(reading: Reading, mp4: Path) -> None:
    began = time.monotonic()
    frames = reading.frames(f"file://{mp4}", FPS + 4)
    took_s = time.monotonic() - began
    assert len(frames) == FPS + 4
    assert 1.1 < took_s < 2.5  # 19 frames at 15 a second


def test_a_picture_that_changes_its_size(reading: Reading, tmp_path: Path) -> None:
    file = _write_clip(tmp_path / "sizes.h264", [(320, 240), (640, 360)])
    sizes = [(f.video.width, f.video.height) for f in reading.frames(f"file://{file}", 16)]
    assert sizes == [(320, 240)] * 8 + [(640, 360)] * 8


def test_rubbish_in_the_stream_is_survived(reading: Reading, tmp_path: Path) -> None:
    file = _write_clip(tmp_path / "clip.h264", [(320, 240)], frames=12)
    data = file.read_bytes()
    rubbish = np.random.default_rng(0).integers(0, 256, 4000, np.uint8).tobytes()
    file.write_bytes(data + rubbish + data)
    assert len(reading.frames(f"file://{file}", 20)) == 20


def test_a_password_is_in_no_log_line_and_no_reason(
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


def test_what_was_added_calls_nobody_on_this_machine(reading: Reading) -> None:
    asked: list[bytes] = []
    reading.reach = EgressPolicy("a camera", loopback_setting="THE_SETTING=true")
    with serving(lambda connection: asked.append(connection.recv(4096))) as port:
        for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0"):
            for scheme in ("rtsp", "rtsps", "http", "https"):
                with pytest.raises(CameraError, match="THE_SETTING=true"):
                    reading.frames(f"{scheme}://{host}:{port}/video", 1)
    assert asked == []


def test_a_name_that_leads_elsewhere_later_is_of_no_use(
    reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only this process asks; FFmpeg is given the address that was judged, and the name to say."""
    asked: list[bytes] = []
    head = "200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame"

    def answer(connection: socket.socket) -> None:
        asked.append(connection.recv(4096))
        connection.sendall(f"HTTP/1.0 {head}\r\n\r\n".encode() + _part(_jpeg(9)) * 3)
        connection.shutdown(socket.SHUT_WR)

    monkeypatch.setattr(egress_policy, "_resolve", lambda host, port: ["127.0.0.1"])
    reading.reach = EgressPolicy("a camera", allow_loopback=True)
    with serving(answer) as port:
        reading.frames(f"http://ann:pass@camera.invalid:{port}/video", 1)
        assert f"\r\nHost: camera.invalid:{port}\r\n".encode() in asked[0]
        assert asked[0].count(b"Host:") == 1


def test_a_name_with_several_addresses_is_read_where_somebody_listens(
    reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(egress_policy, "_resolve", lambda host, port: ["127.0.0.2", "127.0.0.1"])
    reading.reach = EgressPolicy("a camera", allow_loopback=True)
    head = "200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame"
    with serving(_http(head, *[_part(_jpeg(9))] * 3)) as port:
        assert reading.frames(f"http://camera.invalid:{port}/video", 1)
        assert reading.frames(f"http://camera.invalid:{port}/video", 1)
    with pytest.raises(CameraError, match="refuses the connection"):
        reading.frames(f"http://camera.invalid:{port}/video", 1)


def test_what_was_added_is_not_sent_on_by_a_playlist(reading: Reading) -> None:
    asked: list[bytes] = []
    reading.reach = EgressPolicy(
        "a camera", allow_loopback=True
    )  # for the one that has the playlist
    with serving(lambda connection: asked.append(connection.recv(4096))) as inside:
        there = f"http://127.0.0.1:{inside}/secret"
        playlist = (
            '#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS="avc1.42e01e"\n'
            f"{there}.m3u8\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{there}.ts\n"
        )
        head = "200 OK\r\nContent-Type: application/vnd.apple.mpegurl"
        with serving(_http(head, playlist.encode())) as port, pytest.raises(CameraError):
            reading.frames(f"http://127.0.0.1:{port}/video.m3u8", 1)
    assert asked == []


def test_what_was_added_is_not_sent_on_by_a_redirect(reading: Reading) -> None:
    asked: list[bytes] = []
    reading.reach = EgressPolicy("a camera", allow_loopback=True)  # for the one that redirects
    with serving(lambda connection: asked.append(connection.recv(4096))) as inside:
        away = f"302 Found\r\nLocation: http://127.0.0.1:{inside}/secret"
        with serving(_http(away)) as port, pytest.raises(CameraError):
            reading.frames(f"http://127.0.0.1:{port}/video", 1)
    assert asked == []
