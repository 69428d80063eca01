"""A full run with secrets of every kind; none may appear in any output."""

from __future__ import annotations

import base64
import json
import stat
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from facestream.annotator.auth.accounts import hash_password
from facestream.demo.h264_packetizer import Clip
from facestream.demo.rtsp_server import RtspServer, running

from tests.fixtures.polling import wait_for
from tests.fixtures.stack import Stack, make_clip, processes, running_stack

RIGHT, WRONG, ADDED = "right-word/öf door", "wrong-word-of-yard", "added-w%rd-of-attic"
QUERY, TOKEN, USER = "query-word-of-shed", "token-" + "9" * 30, "users-own-word"
DATABASE = "database-word/of p@ges"
PHONE = "key-of-tablet-" + "7" * 20
PATHS = (
    *("/", "/login", "/livez", "/readyz", "/metrics", "/api/cameras", "/api/cameras/door"),
    *("/api/cameras/attic", "/api/cameras/door/people", "/api/me", "/api/openapi.json"),
    *("/api/stats", "/api/events", "/cameras/door/snapshot.jpg"),
)
STREAM_READ_S, PART_BYTES = 1.5, 4096


def spellings(password_hash: str) -> dict[str, str]:
    """Return each secret by its spellings: plain, URL-encoded and base64 of HTTP Basic."""
    found = {}
    for secret in (RIGHT, WRONG, ADDED, QUERY, PHONE, TOKEN, USER, DATABASE, password_hash):
        found[secret] = secret
        found[quote(secret, safe="")] = secret
        for user in ("", "admin"):
            found[base64.b64encode(f"{user}:{secret}".encode()).decode().rstrip("=")] = secret
    return found


def readable_texts(stack: Stack) -> Iterator[tuple[str, str]]:
    """Yield each readable text with its source."""
    for path in PATHS:
        yield f"API {path}", response_text(stack.port, "GET", path)
    for body in ({"name": "x", "url": f"gopher://a:{ADDED}@h"}, {"name": ADDED, "url": 5}):
        yield f"API POST {body}", response_text(stack.port, "POST", "/api/cameras", body)
    yield (
        "login",
        response_text(stack.port, "POST", "/api/login", {"name": "anna", "password": WRONG + "x"}),
    )
    for name, pid in stack.parts().items():
        raw = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
        variables = dict(line.split("=", 1) for line in raw.split("\0") if "=" in line)
        port = next((v for k, v in variables.items() if k.endswith("_HEALTH_PORT")), None)
        for path in ("/metrics", "/readyz") if port else ():
            yield f"{name} {path}", response_text(int(port or 0), "GET", path)
    for _, _, command in processes():
        yield "process title", command


def response_text(port: int, method: str, path: str, body: object = None) -> str:
    """Return a response with its headers; of a stream, the first 1.5 seconds."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}",
        None if body is None else json.dumps(body).encode(),
        {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
        method=method,
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            text = str(response.headers)
            end = time.monotonic() + STREAM_READ_S
            while time.monotonic() < end and (part := response.read1(PART_BYTES)):
                text += part.decode(errors="replace")
            return text
    except urllib.error.HTTPError as error:
        with error:
            return str(error.headers) + error.read().decode(errors="replace")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_no_secret_appears_in_any_output(tmp_path: Path) -> None:
    clip = Clip.load(make_clip(tmp_path / "clip.mp4"))
    server = RtspServer({"door": clip}, port=0, credentials=("admin", RIGHT))
    password_hash = hash_password(USER)
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "users.yaml").write_text(
        f"users: [{{name: anna, role: viewer, password: '{password_hash}'}}]"
    )
    with running(server):
        address = f"127.0.0.1:{server.port}/door"
        (tmp_path / "cameras.yaml").write_text(
            f"cameras: [{{name: yard, url: 'rtsp://admin:{WRONG}@{address}'}}]"
        )
        environment = {
            "FACESTREAM_CAMERAS": f"door=rtsp://admin:{quote(RIGHT, safe='')}@{address} "
            f"shed=http://127.0.0.1:9/video?user=admin&password={QUERY} tablet=phone:{PHONE}",
            "FACESTREAM_ANNOTATOR_ADMIN_TOKEN_FILE": str(tmp_path / "token"),
            "FACESTREAM_ANNOTATOR_USERS_FILE": str(tmp_path / "users.yaml"),
            "FACESTREAM_ANNOTATOR_COUNTS_DB_URL": "postgresql://counter:"
            f"{quote(DATABASE, safe='')}@127.0.0.1:9/counts",  # closed port
            "FACESTREAM_CAPTURE_ALLOW_LOCAL_SOURCES": "true",
            "XDG_DATA_HOME": str(tmp_path / "data"),
        }
        flags = ("--log-level", "debug", "--cameras-file", str(tmp_path / "cameras.yaml"))
        with running_stack(*flags, cache=tmp_path, environment=environment) as stack:
            wait_for(
                lambda: "door: live" in stack.output, "the camera with the right password is live"
            )
            wait_for(
                lambda: "wrong user or password" in stack.output, "the wrong password is rejected"
            )
            added = {"name": "attic", "url": f"rtsp://admin:{ADDED}@{address}"}
            assert '"attic"' in response_text(stack.port, "POST", "/api/cameras", added)
            wait_for(lambda: "attic: failed" in stack.output, "the added camera is rejected")
            found = list(readable_texts(stack))
            assert stack.end() == 0
    found.append(("terminal", stack.output))
    for file in (tmp_path / "data").rglob("*"):
        if file.name == "camera-state.json":  # the only file that stores them
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
        elif file.is_file():
            found.append((file.name, file.read_bytes().decode(errors="replace")))
    assert len(found) > 30
    assert any("facestream_capture_" in text for _, text in found)
    leaks = [
        f"{place}: {secret!r} as {spelling!r}"
        for spelling, secret in spellings(password_hash).items()
        for place, text in found
        if spelling in text
    ]
    assert leaks == []
