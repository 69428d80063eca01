"""Webhook: payload, signature, retries and egress policy, against a real HTTP server."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from facestream.annotator.counting.settings import CountingSettings
from facestream.annotator.counting.webhook import MAX_ATTEMPTS, MAX_QUEUED, Webhook, signature
from facestream.annotator.metrics import AnnotatorMetrics
from facestream.common.security import egress_policy
from prometheus_client import CollectorRegistry
from pydantic import SecretStr, ValidationError

OPENSSL = "sha256=38a9ac8dd76b2aca4f8b04aedc51665fd5491210f6613af0f3b6083734faf74e"


LOCAL = CountingSettings(webhook_allow_local=True).webhook_egress_policy


class Receiver:
    """HTTP server that returns these statuses in turn, and then the last one again."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.came = threading.Condition()

    def wait_for(self, requests: int) -> None:
        with self.came:
            assert self.came.wait_for(lambda: len(self.requests) >= requests, 5), self.requests


@contextmanager
def receiving(*statuses: int) -> Iterator[tuple[Receiver, str]]:
    receiver = Receiver(*statuses)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with receiver.came:
                receiver.requests.append(({k.lower(): v for k, v in self.headers.items()}, body))
                statuses = receiver.statuses
                status = statuses.pop(0) if len(statuses) > 1 else statuses[0]
                receiver.came.notify_all()
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield receiver, f"http://127.0.0.1:{server.server_port}/hook"
    finally:
        server.shutdown()
        server.server_close()


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.of_annotator = AnnotatorMetrics(self.registry)

    def sent(self) -> float | None:
        return self.registry.get_sample_value("facestream_annotator_webhook_events_delivered_total")

    def dropped(self, reason: str) -> float | None:
        name = "facestream_annotator_webhook_events_dropped_total"
        return self.registry.get_sample_value(name, {"reason": reason})


def leads_to(monkeypatch: pytest.MonkeyPatch, *addresses: str, then: str = "") -> list[str]:
    """Resolve every host name to these addresses, and to another from the second call on."""
    looked_up: list[str] = []

    def look_up(host: str, port: int) -> tuple[str, ...]:
        looked_up.append(host)
        return (then,) if then and len(looked_up) > 1 else addresses

    monkeypatch.setattr(egress_policy, "_resolve", look_up)
    return looked_up


def without_backoff(seconds: float) -> bool:
    return False


def test_events_are_sent_in_one_signed_request() -> None:
    metrics = Metrics()
    with receiving(204) as (receiver, url):
        webhook = Webhook(url, "key", LOCAL, metrics.of_annotator)
        for i in range(3):
            webhook.put({"id": str(i)})
        webhook.start()
        receiver.wait_for(1)
        webhook.stop(5)
    ((headers, body),) = receiver.requests
    assert json.loads(body) == {"version": 1, "events": [{"id": "0"}, {"id": "1"}, {"id": "2"}]}
    timestamp = int(headers["x-facestream-timestamp"])
    assert headers["x-facestream-signature"] == signature("key", timestamp, body)
    assert metrics.sent() == 3


def test_the_signature_equals_that_of_openssl() -> None:
    # printf '1767225600.{"events":[]}' | openssl dgst -sha256 -hmac key
    assert signature("key", 1767225600, b'{"events":[]}') == OPENSSL


def test_server_errors_are_retried_with_backoff() -> None:
    metrics = Metrics()
    backoffs: list[float] = []

    def wait(seconds: float) -> bool:
        backoffs.append(seconds)
        return False

    with receiving(503, 429, 200) as (receiver, url):
        webhook = Webhook(url, None, LOCAL, metrics.of_annotator, wait)
        webhook.start()
        webhook.put({"id": "a"})
        receiver.wait_for(3)
        webhook.stop(5)
    assert [body for _, body in receiver.requests] == [b'{"version":1,"events":[{"id":"a"}]}'] * 3
    assert "x-facestream-signature" not in receiver.requests[0][0]
    assert metrics.sent() == 1
    assert 0.5 <= backoffs[0] <= 1.0 <= backoffs[1] <= 2.0


def test_client_errors_are_not_retried_and_redirects_not_followed() -> None:
    for status in (400, 302):
        metrics = Metrics()
        with receiving(status) as (receiver, url):
            webhook = Webhook(url, None, LOCAL, metrics.of_annotator, without_backoff)
            webhook.start()
            webhook.put({"id": "a"})
            receiver.wait_for(1)
            webhook.stop(5)
        assert len(receiver.requests) == 1
        assert metrics.dropped("refused") == 1


def test_loopback_addresses_need_permission_whatever_the_name(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = Metrics()
    with receiving(200) as (receiver, url):
        leads_to(monkeypatch, "127.0.0.1")
        named = url.replace("127.0.0.1", "hook.example")
        webhook = Webhook(
            named,
            None,
            CountingSettings().webhook_egress_policy,
            metrics.of_annotator,
            without_backoff,
        )
        webhook.start()
        webhook.put({"id": "a"})
        webhook.stop(5)
    assert receiver.requests == []
    assert metrics.dropped("failed") == 1
    assert "hook.example (127.0.0.1): an address of this machine" in caplog.text
    assert "FACESTREAM_ANNOTATOR_WEBHOOK_ALLOW_LOCAL=true" in caplog.text


def test_the_checked_address_is_the_connected_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: a name is resolved once per attempt, and that address is connected."""
    look_ups = leads_to(monkeypatch, "192.0.2.1", then="127.0.0.1")
    asked: list[tuple[str, int]] = []

    def connect(address: tuple[str, int], timeout: float) -> socket.socket:
        asked.append(address)
        raise TimeoutError("no answer")

    monkeypatch.setattr(socket, "create_connection", connect)
    metrics = Metrics()
    webhook = Webhook(
        "http://hook.example:81/",
        None,
        CountingSettings().webhook_egress_policy,
        metrics.of_annotator,
        lambda seconds: True,
    )
    webhook.start()
    webhook.put({"id": "a"})
    webhook.stop(5)
    assert asked == [("192.0.2.1", 81)]
    assert len(look_ups) == 1


def test_an_unreachable_address_falls_back_to_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    metrics = Metrics()
    with receiving(200) as (receiver, url):
        leads_to(monkeypatch, "127.0.0.2", "127.0.0.1")
        webhook = Webhook(
            url.replace("127.0.0.1", "hook.example"),
            None,
            LOCAL,
            metrics.of_annotator,
            without_backoff,
        )
        webhook.start()
        webhook.put({"id": "a"})
        receiver.wait_for(1)
        webhook.stop(5)
    assert receiver.requests[0][0]["host"].startswith("hook.example:")


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "[::1]", "169.254.169.254", "[fe80::1%25eth0]", "0.0.0.0"]
)
def test_a_denied_address_is_rejected_at_startup(host: str) -> None:
    with pytest.raises(ValidationError, match=r"WEBHOOK_ALLOW_(LINK_)?LOCAL=true"):
        CountingSettings(webhook_url=SecretStr(f"http://{host}/hook"))
    CountingSettings(
        webhook_url=SecretStr(f"http://{host}/hook"),
        webhook_allow_local=True,
        webhook_allow_link_local=True,
    )


def test_a_url_with_a_user_is_rejected() -> None:
    with pytest.raises(ValidationError, match="remove user and password"):
        CountingSettings(webhook_url=SecretStr("https://anna:geheim99@hook.example/"))


def test_events_are_dropped_after_the_last_attempt() -> None:
    metrics = Metrics()
    with receiving(*[500] * MAX_ATTEMPTS, 200) as (receiver, url):
        webhook = Webhook(url, None, LOCAL, metrics.of_annotator, without_backoff)
        webhook.start()
        webhook.put({"id": "a"})
        receiver.wait_for(MAX_ATTEMPTS)
        webhook.put({"id": "b"})
        receiver.wait_for(MAX_ATTEMPTS + 1)
        webhook.stop(5)
    assert (metrics.dropped("failed"), metrics.sent()) == (1, 1)


def test_the_queue_is_bounded_and_drops_are_counted() -> None:
    metrics = Metrics()
    webhook = Webhook("http://127.0.0.1:9/", None, LOCAL, metrics.of_annotator)
    for i in range(MAX_QUEUED + 7):
        webhook.put({"id": str(i)})
    assert metrics.dropped("overflow") == 7
    webhook.stop(1)
    assert metrics.dropped("stopped") == MAX_QUEUED


def test_an_unreachable_receiver_does_not_delay_shutdown() -> None:
    metrics = Metrics()
    webhook = Webhook("http://127.0.0.1:9/", None, LOCAL, metrics.of_annotator)
    webhook.start()
    webhook.put({"id": "a"})
    webhook.stop(5)
    assert not webhook._thread.is_alive()
    assert metrics.dropped("stopped") == 1
