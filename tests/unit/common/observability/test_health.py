"""Alive and ready, over HTTP."""

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


def test_ready_only_when_nothing_is_missing() -> None:
    health = Health(("broker",))
    assert health.ready() == (False, {"ready": False, "missing": {"broker": "not reached yet"}})
    assert health.mark_available("broker")
    assert not health.mark_available("broker")
    assert health.ready()[0]
    assert health.mark_unavailable("broker", "redis://a:word@h refused")
    assert not health.mark_unavailable("broker", "still")
    assert health.ready()[1]["missing"] == {"broker": "still"}


def test_what_is_missing_but_not_needed_is_told_and_ready_all_the_same() -> None:
    health = Health(())
    assert health.mark_unavailable("counts", "disk full")
    assert health.ready() == (True, {"ready": True, "missing": {"counts": "disk full"}})


def test_a_loop_that_hangs_is_not_alive() -> None:
    clock = Clock()
    health = Health((), beat_deadline_s=5, clock=clock)
    clock.now = 4
    assert health.live()[0]
    clock.now = 6
    assert not health.live()[0]
    assert not health.ready()[0]
    health.heartbeat()
    assert health.live()[0]


def test_a_need_is_told_to_the_health_and_its_coming_and_going_once_to_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    health = Health(("broker",))
    need = Dependency(health, "broker")
    assert not need.is_up
    with caplog.at_level(logging.INFO):
        for failure in ("refused", "refused", "timed out"):
            need.report(failure)
            assert not need.is_up
        assert health.ready()[1]["missing"] == {"broker": "timed out"}
        for _ in range(3):
            need.report(None)
            assert need.is_up
        assert health.ready()[0]
        need.report("gone")
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "the broker is away: refused; waiting for it"),
        ("INFO", "the broker answers"),
        ("WARNING", "the broker is away: gone; waiting for it"),
    ]


def test_a_need_that_many_threads_report_is_news_once(caplog: pytest.LogCaptureFixture) -> None:
    need = Dependency(Health(("broker",)), "broker")
    together = threading.Barrier(8)

    def report() -> None:
        together.wait(5)
        need.report("refused")

    threads = [threading.Thread(target=report) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert len(caplog.records) == 1


def test_the_answers_come_over_http_and_a_taken_port_is_named() -> None:
    registry = CollectorRegistry()
    Counter("facestream_test_total", "a test", registry=registry).inc()
    health = Health(("broker",))
    server = serve_health(health, registry, "127.0.0.1", 0)
    base = f"http://127.0.0.1:{server.server_port}"
    try:
        with urllib.request.urlopen(f"{base}/livez", timeout=5) as answer:
            assert json.load(answer)["live"] is True
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{base}/readyz", timeout=5)
        assert caught.value.code == 503
        caught.value.close()
        with urllib.request.urlopen(f"{base}/metrics", timeout=5) as answer:
            assert b"facestream_test_total 1.0" in answer.read()
        with pytest.raises(StartError, match=r"cannot listen on .*in use.*--health-port"):
            serve_health(health, registry, "127.0.0.1", server.server_port)
    finally:
        server.shutdown()
        server.server_close()


def test_a_client_that_hangs_up_leaves_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    server = serve_health(Health(()), CollectorRegistry(), "127.0.0.1", 0)
    try:
        raise ConnectionResetError
    except ConnectionResetError:
        server.handle_error(None, ("127.0.0.1", 1))  # type: ignore[arg-type]
    finally:
        server.shutdown()
        server.server_close()
    assert capsys.readouterr().err == ""
