"""Fuzzing: for any input, a parser returns a valid value or raises its own error."""

from __future__ import annotations

import json
import socket
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
import pytest
import simplejpeg
from facestream.annotator import http_server
from facestream.annotator.auth.accounts import load_accounts
from facestream.annotator.auth.authentication import _basic_password
from facestream.annotator.http_server import MAX_HEADER_BYTES, MAX_PIPELINED_REQUESTS
from facestream.annotator.phone.routes import _check_jpeg
from facestream.capture.settings import CaptureSettings
from facestream.capture.sources.phone_source import decode_phone_jpeg, new_jpeg_decoder
from facestream.common.broker.messages import (
    MAX_FRAME_BYTES,
    MAX_TRACKS,
    FaceCrop,
    Frame,
    Result,
    Track,
    decode_face,
    decode_frame,
    decode_result,
    encode,
    unpack_distribution,
)
from facestream.common.broker.pb.serving import serving_pb2 as pb
from facestream.common.broker.phone_frames import MAX_PHONE_SIDE_PX
from facestream.common.cameras.config_file import load_cameras
from facestream.common.cameras.models import Camera, CameraStatus
from facestream.common.core.errors import FacestreamError, ImageError, MessageError, SettingsError
from facestream.common.core.frame_limits import MAX_SIDE_PX
from facestream.common.security.redaction import redact
from facestream.common.serving import tf_serving_wire
from facestream.common.vision.crop_codec import decode_crop
from facestream.common.vision.yuv_image import decode_jpeg
from facestream.demo.rtsp_protocol import parse_basic_credentials, parse_request, parse_transport
from facestream.model_server.grpc_service import (
    RpcError,
    _parse_input,
    _requested_outputs,
    _requested_version,
)
from facestream.model_server.model import Port
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from tests.fixtures.annotator_with_accounts import ADMIN, Locked

JPEG = simplejpeg.encode_jpeg(np.full((64, 64, 3), 90, np.uint8), 90, "RGB", "420")
FRAME = Frame(
    camera="door", session=1, seq=2, width=64, height=64, tracks=[Track(track=1, w=9, h=9)] * 3
)
MESSAGES: list[tuple[Callable[[dict[bytes, bytes]], object], dict[bytes, bytes]]] = [
    (decode_frame, encode(FRAME, JPEG)),
    (decode_face, encode(FaceCrop(camera="door", track=1, quality=0.5, size_px=64), JPEG)),
    (decode_result, encode(Result(camera="door", age=30, age_std=5, female=0.5))),
]


def assert_one_line(error: FacestreamError) -> None:
    assert "\n" not in str(error)


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """Draw valid data with bytes changed, removed or inserted."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 8))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        match draw(st.sampled_from(("change", "cut", "insert"))):
            case "change" if data:
                data[at] = draw(st.integers(0, 255))
            case "cut":
                del data[at : at + draw(st.integers(1, 64))]
            case _:
                data[at:at] = draw(st.binary(max_size=16))
    return bytes(data)


@given(data=st.data())
def test_stream_entries(data: st.DataObject) -> None:
    parse, whole = data.draw(st.sampled_from(MESSAGES))
    fields = {
        key: data.draw(st.one_of(damaged(value), st.binary(max_size=200)))
        for key, value in whole.items()
    }
    try:
        parse(fields)
    except MessageError as error:
        assert_one_line(error)


@given(st.binary(max_size=64))
def test_age_distributions(data: bytes) -> None:
    try:
        values = unpack_distribution(data)
    except MessageError:
        return
    assert values.size == 0 or abs(float(values.sum()) - 1) < 1e-2


def test_stream_entries_have_size_limits() -> None:
    big = Frame(camera="door", width=64, height=64, tracks=[Track(track=1)] * (MAX_TRACKS + 1))
    with pytest.raises(MessageError, match="number of tracks"):
        decode_frame(encode(big))
    with pytest.raises(MessageError, match="frame size"):
        decode_frame(encode(Frame(camera="door", width=MAX_SIDE_PX + 1, height=64)))
    with pytest.raises(MessageError, match="JPEG"):
        decode_frame(encode(FRAME, b"\xff\xd8" + bytes(MAX_FRAME_BYTES)))
    with pytest.raises(MessageError, match="length"):
        decode_frame(encode(Frame(camera="d" * 70_000, width=1, height=1)))


@given(st.one_of(damaged(JPEG), st.binary(max_size=100)))
def test_crops(jpeg: bytes) -> None:
    row = np.zeros((64, 64, 3), np.uint8)
    try:
        decode_crop(jpeg, row)
    except ImageError as error:
        assert_one_line(error)


@given(st.one_of(damaged(JPEG), st.binary(max_size=100)))
def test_jpegs(jpeg: bytes) -> None:
    try:
        planes = decode_jpeg(jpeg)
        planes.ensure_decoded(0, planes.height)
    except ImageError:
        return
    assert planes.width <= MAX_SIDE_PX
    assert planes.height <= MAX_SIDE_PX


@given(st.one_of(damaged(JPEG), st.binary(max_size=100)))
def test_phone_frames(jpeg: bytes) -> None:
    reason, message = _check_jpeg(jpeg)
    assert bool(reason) == bool(message)
    frame = decode_phone_jpeg(new_jpeg_decoder(), jpeg)
    if frame is not None:
        assert max(frame.width, frame.height) <= MAX_PHONE_SIDE_PX


URLS = st.one_of(
    st.text(max_size=60),
    st.builds(
        "{}://{}:{}@{}:{}/{}".format,
        st.sampled_from(("rtsp", "http", "file", "device", "phone", "gopher", "javascript", "")),
        st.text(max_size=8),
        st.text(max_size=12),
        st.one_of(st.text(max_size=12), st.sampled_from(("[::1", "10.0.0.9", "[v1.x]", "%zz"))),
        st.one_of(st.integers(-5, 99999).map(str), st.text(max_size=4)),
        st.text(max_size=12),
    ),
)


@settings(max_examples=60)
@given(URLS)
@example("rtsp://[fe80::1%25eth0]:8554/live")
@example("http://user:p\r\nHost: evil@10.0.0.9/")
@example("rtsp://a:b@\x00/")
def test_camera_urls(url: str) -> None:
    try:
        camera = Camera(name="door", url=SecretStr(url))
    except ValidationError:
        pass
    else:
        assert url.isprintable()
        assert camera.redacted_url()
    try:
        Camera.parse(url)
    except SettingsError as error:
        assert_one_line(error)


@given(
    st.text("abcdefghijklmnopqrstuvwxyzABC0123456789!$*,;:", min_size=8, max_size=20),
    st.sampled_from(
        ("gopher://user:{}@h/", "rtsp://user:{}@h:999999/", "rtsp://user:{}@/x", "{}@h")
    ),
)
def test_the_error_about_a_camera_does_not_quote_its_password(password: str, shape: str) -> None:
    if password in shape:
        return
    with pytest.raises(SettingsError) as error:
        Camera.parse("door=" + shape.format(password))
    assert password not in redact(str(error.value))


@settings(max_examples=25)
@given(
    st.one_of(
        st.text(max_size=80),
        st.recursive(
            st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=8)),
            lambda inner: st.one_of(
                st.lists(inner, max_size=3),
                st.dictionaries(
                    st.one_of(
                        st.text(max_size=4),
                        st.sampled_from(("cameras", "users", "capture", "broker", "name", "url")),
                    ),
                    inner,
                    max_size=3,
                ),
            ),
            max_leaves=8,
        ).map(repr),
    )
)
@example("cameras: &a [*a]")
@example("!!python/object/apply:os.system [true]")
@example("[" * 200)
@example("broker: 2001-13-45")
def test_yaml_files(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "file.yaml"
        file.write_bytes(text.encode(errors="surrogatepass"))
        reads: list[Callable[[], object]] = [
            lambda: load_cameras(file),
            lambda: load_accounts(None, None, file),
            lambda: CaptureSettings.load(config_file=file, environ={}),
        ]
        for read in reads:
            try:
                read()
            except SettingsError as error:
                assert_one_line(error)


REQUEST = b"SETUP rtsp://h/demo/trackID=0 RTSP/1.0\r\nCSeq: 3\r\nTransport: RTP/AVP;client_port=5-6"


@given(st.one_of(damaged(REQUEST).map(lambda b: b.decode("latin-1")), st.text(max_size=60)))
@example("OPTIONS rtsp://[ RTSP/1.0")
def test_rtsp_requests(text: str) -> None:
    try:
        request = parse_request(text)
    except ValueError:
        return
    assert isinstance(request.path, str)
    transport = parse_transport(request.headers.get("transport", text))
    if transport is not None:
        assert 0 <= transport.channel < 256


@given(st.text(max_size=30))
@example("ü")
@example("====")
def test_authorization_headers(text: str) -> None:
    assert parse_basic_credentials(text) is None or ":" in text or text.lower().startswith("basic ")
    parse_basic_credentials(f"Basic {text}")
    _basic_password(text)


PORT = Port("faces", np.dtype(np.uint8), (None, 4, 4, 3))


def predict_request() -> bytes:
    request = pb.PredictRequest()
    request.model_spec.name = "age_gender"
    tf_serving_wire.fill_tensor(request.inputs["faces"], np.zeros((2, 4, 4, 3), np.uint8))
    whole: bytes = request.SerializeToString()
    return whole


@given(
    st.one_of(damaged(predict_request()), st.binary(max_size=60)),
    st.lists(st.integers(-(2**62), 2**62), max_size=6),
)
def test_predict_requests(data: bytes, shape: list[int]) -> None:
    try:
        request = pb.PredictRequest.FromString(data)
    except Exception:  # gRPC rejects this
        request = pb.PredictRequest.FromString(predict_request())
    for sizes in (None, shape):
        if sizes is not None and "faces" in request.inputs:
            dims = request.inputs["faces"].tensor_shape.dim
            del dims[:]
            for size in sizes:
                dims.add(size=size)
        try:
            _requested_version(request)
            _requested_outputs(request, ["age"])
            batch = _parse_input(request, PORT, 16)
        except RpcError:
            continue
        assert batch.dtype == np.uint8
        assert batch.shape[1:] == (4, 4, 3)
        assert len(batch) <= 16


@given(st.one_of(st.none(), st.text(max_size=20), st.binary(max_size=60)))
def test_camera_statuses(data: Any) -> None:
    try:
        CameraStatus.model_validate_json(data or "")
    except ValidationError:
        pass


@pytest.fixture(scope="module")
def admin(locked: Locked) -> httpx.Client:
    return locked.client(ADMIN)


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.floats(), st.integers(), st.text(max_size=10)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(("name", "url", "rotate", "paused", "transport", "password", "x")),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=6,
)


@settings(max_examples=40)
@given(
    st.sampled_from(
        (("POST", "/api/cameras"), ("PATCH", "/api/cameras/door"), ("POST", "/api/logout"))
    ),
    st.one_of(JSON.map(lambda value: repr(value).encode()), st.binary(max_size=40)),
    JSON,
)
def test_api_request_bodies(
    admin: httpx.Client, route: tuple[str, str], raw: bytes, value: object
) -> None:
    for body in (raw, json.dumps(value).encode()):
        response = admin.request(*route, content=body, headers={"Content-Type": "application/json"})
        assert response.status_code in (200, 201, 204, 400, 409, 422), response.text
        if response.is_error:
            assert "\n" not in response.json()["detail"]


@settings(max_examples=40)
@given(
    st.sampled_from(
        ("/api/cameras/", "/api/stats?from=", "/api/stats?by=", "/api/streams.mjpg?camera=")
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
)
@example("/api/stats?from=", "9" * 400)
@example("/api/stats?from=", "-1e308")
@example("/api/stats?from=", "0001-01-01")
def test_api_paths_and_queries(admin: httpx.Client, path: str, text: str) -> None:
    with admin.stream("GET", path + quote(text, safe="")) as response:
        assert response.status_code in (200, 307, 404, 422), (response.status_code, path, text)


@pytest.mark.parametrize(
    "query", ["camera=%00", "camera=Door", "region=a%00b", "region=" + "x" * 33]
)
def test_counts_with_an_invalid_name_are_rejected(admin: httpx.Client, query: str) -> None:
    response = admin.get(f"/api/stats?{query}")
    assert response.status_code == 422
    assert response.json()["detail"].endswith("use lower-case letters, digits, - and _; at most 32")


def test_an_oversized_body_is_rejected(admin: httpx.Client) -> None:
    body = b'{"name": "x", "url": "' + b"a" * 20_000 + b'"}'
    response = admin.post(
        "/api/cameras", content=body, headers={"Content-Type": "application/json"}
    )
    assert response.status_code == 413


def test_endless_headers_are_cut_off(locked: Locked) -> None:
    with socket.create_connection(("127.0.0.1", locked.port), 5) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ")
        sent = 0
        try:
            while sent < 50 * MAX_HEADER_BYTES:
                connection.sendall(b"y" * 4096)
                sent += 4096
                time.sleep(0.002)
        except OSError:
            pass
    assert sent < 20 * MAX_HEADER_BYTES


def test_a_missing_body_times_out(locked: Locked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "BODY_TIMEOUT_S", 0.3)
    head = "POST /api/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", locked.port), 5) as connection:
        connection.sendall(f"{head}Content-Length: 5\r\n\r\n[".encode())
        connection.settimeout(5)
        while connection.recv(4096):
            pass


def test_an_incomplete_head_times_out(locked: Locked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "HEADER_TIMEOUT_S", 0.3)
    for partial_head in (
        b"",
        b"GET / HT",
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\nGET / HT",
    ):
        with socket.create_connection(("127.0.0.1", locked.port), 5) as connection:
            connection.sendall(partial_head)
            connection.settimeout(5)
            while connection.recv(4096):
                pass


def test_data_after_a_request_does_not_hold_a_connection(
    locked: Locked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "HEADER_TIMEOUT_S", 0.3)
    accepted = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
    rejected_unread = b"POST /api/cameras HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n"
    for head, rest in ((accepted, b"\r\n"), (rejected_unread, b"{}")):
        with socket.create_connection(("127.0.0.1", locked.port), 3) as connection:
            connection.sendall(head)
            assert connection.recv(4096).startswith(b"HTTP/1.1 ")
            connection.sendall(rest)
            while connection.recv(4096):
                pass


def test_pipelined_requests_are_limited(locked: Locked) -> None:
    request = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for number, is_too_many in ((1 + MAX_PIPELINED_REQUESTS, False), (50, True)):
        with socket.create_connection(("127.0.0.1", locked.port), 5) as connection:
            connection.sendall(request * number)
            received = b""
            while received.count(b"HTTP/1.1 ") < number and (part := connection.recv(65536)):
                received += part
            assert (b" 400 Bad Request" in received) == is_too_many
