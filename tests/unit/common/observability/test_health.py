"""Liveness, readiness and metrics over HTTP."""

import contextlib
import http.client
import json
import logging
import threading
import urllib.error
import urllib.request

import pytest
from facestream.common.core.errors import StartError
from facestream.common.observability.health import Dependency, Health, serve_health
from prometheus_client import CollectorRegistry, Counter


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_service_is_ready_when_no_required_dependency_is_missing() -> None:
    health = Health(("broker",))
    assert health.ready() == (False, {"ready": False, "missing": {"broker": "not connected yet"}})
    assert health.mark_available("broker")
    assert not health.mark_available("broker")
    assert health.ready()[0]
    assert health.mark_unavailable("broker", "redis://a:word@h refused")
    assert not health.mark_unavailable("broker", "still")
    assert health.ready()[1]["missing"] == {"broker": "still"}


def test_an_optional_dependency_is_reported_but_the_service_stays_ready() -> None:
    health = Health(())
    assert health.mark_unavailable("counts", "disk full")
    assert health.ready() == (True, {"ready": True, "missing": {"counts": "disk full"}})


def test_a_main_loop_without_heartbeat_is_not_live() -> None:
    clock = Clock()
    health = Health((), heartbeat_timeout_s=5, clock=clock)
    clock.now = 4
    assert health.live()[0]
    clock.now = 6
    assert not health.live()[0]
    assert not health.ready()[0]
    health.heartbeat()
    assert health.live()[0]


def test_a_dependency_updates_the_health_and_logs_each_change_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    health = Health(("broker",))
    dependency = Dependency(health, "broker")
    assert not dependency.is_up
    with caplog.at_level(logging.INFO):
        for failure in ("refused", "refused", "timed out"):
            dependency.report(failure)
            assert not dependency.is_up
        assert health.ready()[1]["missing"] == {"broker": "timed out"}
        for _ in range(3):
            dependency.report(None)
            assert dependency.is_up
        assert health.ready()[0]
        dependency.report("gone")
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "broker unavailable: refused; retrying"),
        ("INFO", "broker connected"),
        ("WARNING", "broker unavailable: gone; retrying"),
    ]


def test_a_change_reported_by_many_threads_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    dependency = Dependency(Health(("broker",)), "broker")
    barrier = threading.Barrier(8)

    def report() -> None:
        barrier.wait(5)
        dependency.report("refused")

    threads = [threading.Thread(target=report) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert len(caplog.records) == 1


def test_health_is_served_over_http_and_a_port_in_use_is_reported() -> None:
    registry = CollectorRegistry()
    Counter("facestream_test_total", "a test", registry=registry).inc()
    health = Health(("broker",))
    server = serve_health(health, registry, "127.0.0.1", 0)
    base = f"http://127.0.0.1:{server.server_port}"
    try:
        with urllib.request.urlopen(f"{base}/livez", timeout=5) as response:
            assert json.load(response)["live"] is True
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{base}/readyz", timeout=5)
        assert caught.value.code == 503
        caught.value.close()
        head = urllib.request.Request(f"{base}/livez", method="HEAD")
        with urllib.request.urlopen(head, timeout=5) as response:
            assert int(response.headers["Content-Length"]) > 0
            assert response.read() == b""
        with urllib.request.urlopen(f"{base}/metrics", timeout=5) as response:
            assert b"facestream_test_total 1.0" in response.read()
        with pytest.raises(StartError, match=r"cannot listen on .*in use.*--health-port"):
            serve_health(health, registry, "127.0.0.1", server.server_port)
    finally:
        server.shutdown()
        server.server_close()


def test_metrics_check_the_host_against_dns_rebinding() -> None:
    server = serve_health(Health(()), CollectorRegistry(), "127.0.0.1", 0, {"faces.example.org"})

    def status(path: str, host: str | None) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=5)
        with contextlib.closing(connection):
            connection.putrequest("GET", path, skip_host=True)
            if host is not None:
                connection.putheader("Host", host)
            connection.endheaders()
            return connection.getresponse().status

    try:
        # A container's health check, a pod's probe, Prometheus by service name, the own name.
        for host in (
            None,
            "127.0.0.1:9101",
            "10.42.0.7:9101",
            "[fd00::7]:9101",
            "capture:9101",
            "capture.facestream.svc:9101",
            "capture.facestream.svc.cluster.local:9101",
            "faces.example.org",
        ):
            assert status("/metrics", host) == 200, host
        for host in ("evil.example.com:9101", "127.0.0.1.evil.example.com", ""):
            assert status("/metrics", host) == 403, host
            assert status("/livez", host) == 200, host
    finally:
        server.shutdown()
        server.server_close()


def test_a_client_that_disconnects_leaves_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    server = serve_health(Health(()), CollectorRegistry(), "127.0.0.1", 0)
    try:
        raise ConnectionResetError
    except ConnectionResetError:
        server.handle_error(None, ("127.0.0.1", 1))  # type: ignore[arg-type]
    finally:
        server.shutdown()
        server.server_close()
    assert capsys.readouterr().err == ""
