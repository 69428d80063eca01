"""Sources that browsers and players show: each is live, upright, with square pixels, and whole."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from facestream.capture.faces.yuv_frame import from_av_frame
from facestream.capture.sources.ffmpeg_source import SourceFrame, read_frames
from facestream.common.cameras.models import Camera
from facestream.common.core.errors import CameraError
from facestream.common.security.egress_policy import ALLOW_ALL
from facestream.common.vision.source_frame import frame_geometry

from tests.fixtures.tcp_server import serving

FPS = 10
RN = "\r\n"


def _read(url: str, count: int, **more: object) -> tuple[list[SourceFrame], int]:
    """Return this many frames of a camera, and the number of invalid ones."""
    invalid: list[None] = []
    frames = read_frames(
        Camera.model_validate({"name": "c", "url": url} | more),
        threading.Event(),
        egress_policy=ALLOW_ALL,
        open_timeout_s=3.0,
        read_timeout_s=3.0,
        on_invalid=lambda: invalid.append(None),
        on_stale=lambda: None,
    )
    received: list[SourceFrame] = []
    with contextlib.closing(frames):  # type: ignore[type-var]
        for frame in frames:
            received.append(frame)
            if len(received) == count:
                break
    return received, len(invalid)


def _image(width: int, height: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Return an image with red at the top."""
    image = np.full((height, width, 3), 200, np.uint8)
    image[: height // 3] = (0, 0, 200)
    return image


def _has_red_at_the_top(frame: SourceFrame) -> bool:
    planes = from_av_frame(frame.video, frame.geometry)
    upright = np.rot90(planes.v, -planes.rotate // 90)
    return bool(upright[2, 2:-2].mean() > 180 > upright[-3].mean() + 20)


def _clip(
    file: Path,
    stamps: list[int],
    *,
    rotation: int = 0,
    aspect: int = 1,
    image: np.ndarray[tuple[int, ...], np.dtype[np.uint8]] | None = None,
) -> str:
    pixels = _image(160, 120) if image is None else image
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.height, stream.width = pixels.shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(aspect)
        stream.options = {"preset": "ultrafast", "tune": "zerolatency", "g": "5"}
        if rotation:
            stream.set_display_rotation(rotation)
        packets = []
        for i in range(len(stamps)):
            frame = av.VideoFrame.from_ndarray(pixels, "bgr24")
            frame.pts, frame.time_base = i, Fraction(1, FPS)
            packets += stream.encode(frame)
        packets += stream.encode()
        for packet, stamp in zip(packets, stamps, strict=True):
            packet.pts = packet.dts = stamp
            packet.time_base = Fraction(1, FPS)
            container.mux(packet)
    return f"file://{file}"


@pytest.mark.parametrize(
    "stamps",
    [
        [*range(5), *range(36000, 36005)],
        [*range(5), *range(60, 65)],
        list(range(10**7, 10**7 + 10)),
        [*range(5), *range(5)],
    ],
    ids=["an hour ahead", "six seconds ahead", "huge start", "starting over"],
)
def test_a_file_whose_timestamps_jump_goes_on_at_once(tmp_path: Path, stamps: list[int]) -> None:
    parts = [stamps] if stamps == sorted(stamps) else [stamps[:5], stamps[5:]]
    file = tmp_path / "clip.ts"
    data = b""
    for part in parts:
        _clip(file, part)
        data += file.read_bytes()
    file.write_bytes(data)
    began = time.monotonic()
    frames, _ = _read(f"file://{file}", 10)
    assert len(frames) == 10
    assert time.monotonic() - began < 2.5


def test_a_rotated_container_is_upright_and_rotate_adds_to_it(tmp_path: Path) -> None:
    lying = np.ascontiguousarray(np.rot90(_image(160, 120)))
    url = _clip(tmp_path / "clip.mp4", list(range(5)), rotation=-90, image=lying)
    (frame, *_), _ = _read(url, 1)
    assert frame.geometry.display_size(frame.video.width, frame.video.height) == (160, 120)
    assert _has_red_at_the_top(frame)
    (added, *_), _ = _read(url, 1, rotate=90)
    assert added.geometry.rotate == 180


def test_anamorphic_video_gets_square_pixels(tmp_path: Path) -> None:
    url = _clip(tmp_path / "clip.mp4", list(range(5)), aspect=2)
    for more, size in (({}, (320, 120)), ({"pixel_aspect": 0.5}, (160, 240))):
        (frame, *_), _ = _read(url, 1, **more)
        assert frame.geometry.display_size(frame.video.width, frame.video.height) == size
        planes = from_av_frame(frame.video, frame.geometry)
        assert (planes.width, planes.height) == size
        assert planes.u.shape == (size[1] // 2, size[0] // 2)


def test_an_interlaced_frame_shows_one_field() -> None:
    rows = np.zeros((120, 160, 3), np.uint8)
    rows[1::2] = 255  # the second field
    video = av.VideoFrame.from_ndarray(rows, "bgr24").reformat(format="yuv420p")
    woven = from_av_frame(video, SourceFrame(video, 0, 0.0).geometry)
    assert np.ptp(woven.y[:, 80].astype(int)) > 200
    one = from_av_frame(video, frame_geometry(video, deinterlace=True))
    assert one.y.shape == (120, 160)
    assert np.ptp(one.y[:, 80].astype(int)) < 10


def _jpeg(*, lying: bool = False) -> bytes:
    image = _image(160, 120)
    if not lying:
        return cv2.imencode(".jpg", image)[1].tobytes()
    jpeg = cv2.imencode(".jpg", cv2.rotate(image, cv2.ROTATE_90_COUNTERCLOCKWISE))[1].tobytes()
    exif = b"Exif\0\0MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]


_SIZE = len(_jpeg())
_HEADERS = {
    "usual": f"--b{RN}Content-Type: image/jpeg{RN}Content-Length: {_SIZE}{RN}{RN}",
    "image/jpg": f"--b{RN}Content-Type: image/jpg{RN}Content-Length: {_SIZE}{RN}{RN}",
    "parameters": f"--b{RN}Content-Type: image/jpeg;x=1{RN}Content-Length: {_SIZE}{RN}{RN}",
    "no part type": f"--b{RN}Content-Length: {_SIZE}{RN}{RN}",
    "no first boundary": f"Content-Type: image/jpeg{RN}{RN}",
    "same line": f"--bContent-type: image/jpeg{RN}Content-length: {_SIZE}{RN}{RN}",
    "wrong length": f"--b{RN}Content-Type: image/jpg{RN}Content-Length: 99{RN}{RN}",
    "line feeds": f"--b\nContent-Type: image/jpeg\nContent-Length: {_SIZE}\n\n",
}


def _multipart(parts: Callable[[], Iterator[bytes]]) -> Callable[[socket.socket], None]:
    def handle(connection: socket.socket) -> None:
        connection.recv(4096)
        kind = "multipart/x-mixed-replace; boundary=b"
        head = f"HTTP/1.0 200 OK{RN}Content-Type: {kind}{RN}{RN}"
        with contextlib.suppress(OSError):
            connection.sendall(head.encode())
            for part in parts():
                connection.sendall(part)
                time.sleep(1 / FPS)

    return handle


@pytest.mark.parametrize("shape", _HEADERS)
def test_mjpeg_that_browsers_play_is_live(shape: str) -> None:
    tail = f"{RN}--b{RN}" if shape == "no first boundary" else RN

    def parts() -> Iterator[bytes]:
        for _ in range(50):
            yield _HEADERS[shape].encode() + _jpeg() + tail.encode()

    with serving(_multipart(parts)) as port:
        frames, invalid = _read(f"http://127.0.0.1:{port}/video", 5)
    assert (len(frames), invalid) == (5, 0)


def test_the_exif_orientation_of_mjpeg_is_applied() -> None:
    def parts() -> Iterator[bytes]:
        for _ in range(50):
            yield f"--b{RN}Content-Type: image/jpeg{RN}{RN}".encode() + _jpeg(lying=True) + b"\r\n"

    with serving(_multipart(parts)) as port:
        (frame, *_), _ = _read(f"http://127.0.0.1:{port}/video", 1)
    assert frame.geometry.display_size(frame.video.width, frame.video.height) == (160, 120)
    assert _has_red_at_the_top(frame)


def test_the_address_of_a_single_image_is_reported() -> None:
    def handle(connection: socket.socket) -> None:
        connection.recv(4096)
        head = f"HTTP/1.0 200 OK{RN}Content-Type: image/jpeg{RN}{RN}"
        connection.sendall(head.encode() + _jpeg())
        connection.shutdown(socket.SHUT_WR)
        connection.recv(4096)

    with serving(handle) as port, pytest.raises(CameraError, match="a single image"):
        _read(f"http://127.0.0.1:{port}/shot.jpg", 99)


def test_after_damage_no_frame_is_valid_until_the_next_keyframe(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    noise = rng.integers(0, 255, (240, 320, 3), dtype=np.uint8)
    url = _clip(tmp_path / "clip.ts", list(range(30)), image=noise)
    file = Path(url.removeprefix("file://"))
    data = bytearray(file.read_bytes())
    middle = len(data) // 2 // 188 * 188
    data[middle : middle + 4 * 188] = bytes(4 * 188)
    file.write_bytes(bytes(data))
    frames, invalid = _read(url, 25)
    assert invalid
    flags = [frame.is_corrupt for frame in frames]
    assert any(flags)
    for i in range(1, len(frames)):
        if flags[i - 1] and not flags[i]:
            assert frames[i].video.key_frame
    assert flags.count(False) >= 15
