"""Tests of the probes of the launcher's processes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from facestream.common.observability.health import Health, serve_health
from facestream.launcher import probes
from facestream.launcher.probes import ProbeResult
from facestream.launcher.web_endpoint import WebEndpoint
from prometheus_client import CollectorRegistry

from tests.fixtures.stack import free_port


@pytest.fixture
def health() -> Iterator[tuple[Health, str]]:
    state = Health(("broker",))
    server = serve_health(state, CollectorRegistry(), "127.0.0.1", 0)
    yield state, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_probe_returns_the_missing_dependencies(health: tuple[Health, str]) -> None:
    state, base = health
    state.mark_unavailable("broker", "connection refused")
    assert probes.probe_health(base) == ProbeResult(True, "broker: connection refused")
    state.mark_available("broker")
    assert probes.probe_health(base) == ProbeResult(True)


def test_probes_ignore_the_proxy_of_the_environment(
    health: tuple[Health, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    state, base = health
    state.mark_available("broker")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("no_proxy", raising=False)
    assert probes.probe_health(base) == ProbeResult(True)
    endpoint = WebEndpoint("", base, {}, token="t" * 24)
    assert endpoint.get("/readyz") == {"ready": True, "missing": {}}


def test_stuck_service_is_not_alive() -> None:
    class Stuck(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(503)
            self.end_headers()
            self.wfile.write(json.dumps({"missing": {}}).encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Stuck) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        result = probes.probe_health(f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
    assert not result.alive


@pytest.mark.parametrize("status", [200, 503])
def test_service_that_dies_during_a_response_is_not_alive(status: int) -> None:
    class Dying(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"{")
            self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Dying) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        result = probes.probe_health(f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
    assert not result.alive
    assert "IncompleteRead" in result.missing


def test_absent_service_is_not_alive() -> None:
    assert not probes.probe_health(f"http://127.0.0.1:{free_port()}").alive
    assert not probes.probe_rtsp(free_port()).alive
