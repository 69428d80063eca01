"""What the webhook sends, how it insists, and when it gives up; against a real server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CollectorRegistry

from services.annotator.counting.webhook import MAX_WAITING, TRIES, Webhook, signature
from services.common.metrics import AnnotatorMetrics

OPENSSL = "sha256=38a9ac8dd76b2aca4f8b04aedc51665fd5491210f6613af0f3b6083734faf74e"


class Receiver:
    """Answers with one status after the other, the last one for ever."""

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
        return self.registry.get_sample_value("facestream_annotator_webhook_sent_total")

    def dropped(self, reason: str) -> float | None:
        name = "facestream_annotator_webhook_dropped_total"
        return self.registry.get_sample_value(name, {"reason": reason})


def without_pause(seconds: float) -> bool:
    return False


def test_events_come_signed_and_together() -> None:
    metrics = Metrics()
    with receiving(204) as (receiver, url):
        webhook = Webhook(url, "key", metrics.of_annotator)
        for i in range(3):
            webhook.put({"id": str(i)})
        webhook.start()
        receiver.wait_for(1)
        webhook.stop(5)
    ((headers, body),) = receiver.requests
    assert json.loads(body) == {"events": [{"id": "0"}, {"id": "1"}, {"id": "2"}]}
    timestamp = int(headers["x-facestream-timestamp"])
    assert headers["x-facestream-signature"] == signature("key", timestamp, body)
    assert metrics.sent() == 3


def test_the_signature_is_that_of_other_programs() -> None:
    # printf '1767225600.{"events":[]}' | openssl dgst -sha256 -hmac key
    assert signature("key", 1767225600, b'{"events":[]}') == OPENSSL


def test_a_receiver_in_trouble_is_asked_again() -> None:
    metrics = Metrics()
    pauses: list[float] = []

    def pause(seconds: float) -> bool:
        pauses.append(seconds)
        return False

    with receiving(503, 429, 200) as (receiver, url):
        webhook = Webhook(url, None, metrics.of_annotator, pause)
        webhook.start()
        webhook.put({"id": "a"})
        receiver.wait_for(3)
        webhook.stop(5)
    assert [body for _, body in receiver.requests] == [b'{"events":[{"id":"a"}]}'] * 3
    assert "x-facestream-signature" not in receiver.requests[0][0]
    assert metrics.sent() == 1
    assert 0.5 <= pauses[0] <= 1.0 <= pauses[1] <= 2.0


def test_a_refusal_is_not_repeated_and_a_redirection_not_followed() -> None:
    for status in (400, 302):
        metrics = Metrics()
        with receiving(status) as (receiver, url):
            webhook = Webhook(url, None, metrics.of_annotator, without_pause)
            webhook.start()
            webhook.put({"id": "a"})
            receiver.wait_for(1)
            webhook.stop(5)
        assert len(receiver.requests) == 1
        assert metrics.dropped("refused") == 1


def test_it_gives_up_after_some_tries_and_goes_on_with_the_next() -> None:
    metrics = Metrics()
    with receiving(*[500] * TRIES, 200) as (receiver, url):
        webhook = Webhook(url, None, metrics.of_annotator, without_pause)
        webhook.start()
        webhook.put({"id": "a"})
        receiver.wait_for(TRIES)
        webhook.put({"id": "b"})
        receiver.wait_for(TRIES + 1)
        webhook.stop(5)
    assert (metrics.dropped("failed"), metrics.sent()) == (1, 1)


def test_what_waits_is_bounded_and_what_is_lost_counted() -> None:
    metrics = Metrics()
    webhook = Webhook("http://127.0.0.1:9/", None, metrics.of_annotator)
    for i in range(MAX_WAITING + 7):
        webhook.put({"id": str(i)})
    assert metrics.dropped("overflow") == 7
    webhook.stop(1)
    assert metrics.dropped("stopped") == MAX_WAITING


def test_a_receiver_that_is_not_there_does_not_hold_up_the_end() -> None:
    metrics = Metrics()
    webhook = Webhook("http://127.0.0.1:9/", None, metrics.of_annotator)
    webhook.start()
    webhook.put({"id": "a"})
    webhook.stop(5)
    assert not webhook._thread.is_alive()
    assert metrics.dropped("stopped") == 1
