"""Connection floods without credentials: a fresh viewer is still served."""

from __future__ import annotations

import contextlib
import logging
import resource
import socket
import time
from pathlib import Path

import httpx
import pytest
from facestream.annotator import http_server
from facestream.annotator.connection_limit import MAX_CONNECTIONS_PER_CLIENT
from facestream.common.core.process_lifecycle import raise_open_file_limit

from tests.fixtures.annotator import Running
from tests.fixtures.annotator_with_accounts import Locked

SERVED_S = 1.0


def is_open(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        return client.recv(1) != b""
    except BlockingIOError:
        return True
    except ConnectionError:
        return False


def flood(running: Running, idle: int, slow: int) -> None:
    """Open idle and slow connections, then check that viewers are served."""
    with contextlib.ExitStack() as stack:

        def connect() -> socket.socket:
            client = socket.create_connection(("127.0.0.1", running.port), 5)
            return stack.enter_context(client)

        clients = [connect() for _ in range(idle + slow)]
        for client in clients[idle:]:
            with contextlib.suppress(ConnectionError):
                client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ")
        for path in ("/livez", "/api/cameras", "/"):
            started = time.monotonic()
            assert httpx.get(running.url + path, timeout=5).status_code == 200
            assert time.monotonic() - started < SERVED_S, path
        assert sum(map(is_open, clients)) <= MAX_CONNECTIONS_PER_CLIENT


def test_idle_and_slow_connections_keep_no_viewer_out(broker_url: str) -> None:
    running = Running(broker_url)
    try:
        flood(running, 400, 100)
    finally:
        running.end()


@pytest.mark.slow
def test_thousands_of_idle_connections_keep_no_viewer_out(broker_url: str) -> None:
    if raise_open_file_limit() < 12_000:
        pytest.skip("needs 12,000 open files")
    running = Running(broker_url)
    try:
        flood(running, 5000, 500)
    finally:
        running.end()


def test_the_limit_of_open_files_is_raised() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, soft), hard))
        assert raise_open_file_limit() == resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 512
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_tls_connection_without_a_handshake_is_closed(
    broker_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "TLS_HANDSHAKE_TIMEOUT_S", 0.5)
    web = Locked(broker_url, tmp_path, tls=True)
    try:
        with socket.create_connection(("127.0.0.1", web.port), 5) as client:
            started = time.monotonic()
            with contextlib.suppress(ConnectionError):
                assert client.recv(1) == b""
            assert time.monotonic() - started < 3
    finally:
        web.stop()


def test_invalid_requests_do_not_fill_the_log(
    broker_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    running = Running(broker_url)
    try:
        with caplog.at_level(logging.INFO):
            for _ in range(200):
                with socket.create_connection(("127.0.0.1", running.port), 5) as client:
                    client.sendall(b"\x16\x03 no HTTP\r\n\r\n")
                    client.recv(1000)
        lines = [r for r in caplog.records if "Invalid HTTP request" in r.getMessage()]
        assert 0 < len(lines) <= 20
    finally:
        running.end()
