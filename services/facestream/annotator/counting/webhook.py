"""Webhook: send every visit and crossing to an HTTP receiver, signed and with retries.

The queue is bounded and never blocks the caller; dropped events are counted. One thread sends
several events per request:

    POST <webhook_url>
    X-Facestream-Timestamp: 1767225600
    X-Facestream-Signature: sha256=<hex of HMAC-SHA256(secret, timestamp + "." + body)>
    {"version": 1, "events": [{"id": …, "timestamp": …, "camera": …, "kind": "visit", …}]}

A 2xx response accepts the events. 408, 429, 5xx and connection errors are retried with backoff; any
other status is final. A receiver may get an event twice if its response is lost: compare `id`.

Each attempt resolves the host, and connects only to addresses that the egress policy allows
(`facestream.common.security.egress_policy`). Redirects are not followed, proxies are not used.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import random
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

from facestream.annotator.metrics import AnnotatorMetrics
from facestream.common.core.errors import AddressError
from facestream.common.security.egress_policy import EgressPolicy
from facestream.common.security.redaction import redact

PAYLOAD_VERSION = 1
MAX_QUEUED = 1000
MAX_EVENTS = 50  # in one request
MAX_ATTEMPTS = 6
FIRST_BACKOFF_S, MAX_BACKOFF_S = 1.0, 30.0
TIMEOUT_S = 5.0
_RETRY_STATUSES = (408, 429)  # and all 5xx

Event = Mapping[str, object]
_log = logging.getLogger(__name__)


def signature(secret: str, timestamp: int, body: bytes) -> str:
    """Return the value of the header `X-Facestream-Signature`."""
    signed = str(timestamp).encode() + b"." + body
    return "sha256=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


class Webhook:
    """Queue of events and the thread that sends them.

    Args:
        url: `http://…` or `https://…`, without user and password.
        secret: key of the signature; requests are unsigned without it.
        egress_policy: addresses that the receiver may have.
        metrics: count delivered and dropped events.
        wait: sleeps for these seconds; returns early with True when the webhook stops.
    """

    def __init__(
        self,
        url: str,
        secret: str | None,
        egress_policy: EgressPolicy,
        metrics: AnnotatorMetrics,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        self._url, self._secret, self._metrics = urlsplit(url), secret, metrics
        self._egress_policy = egress_policy
        is_secure = self._url.scheme == "https"
        self._tls = ssl.create_default_context() if is_secure else None
        self._queue: deque[Event] = deque()
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._wait = wait or self._stopping.wait
        self._thread = threading.Thread(target=self._run, name="webhook", daemon=True)
        for reason in ("overflow", "refused", "failed", "stopped"):
            # Export 0, so that alerts see the first increase.
            metrics.webhook_dropped.labels(reason)

    def start(self) -> None:
        """Start the sending thread."""
        self._thread.start()

    def put(self, event: Event) -> None:
        """Queue an event; drop the oldest one if the queue is full."""
        with self._changed:
            self._queue.append(event)
            if len(self._queue) > MAX_QUEUED:
                self._queue.popleft()
                self._metrics.webhook_dropped.labels("overflow").inc()
            self._changed.notify()

    def stop(self, timeout_s: float) -> None:
        """Try to send the queued events once, then stop; drop what is left after `timeout_s`."""
        self._stopping.set()
        with self._changed:
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        with self._changed:
            if self._queue:
                self._metrics.webhook_dropped.labels("stopped").inc(len(self._queue))
                self._queue.clear()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._queue and not self._stopping.is_set():
                    self._changed.wait()
                events = [self._queue.popleft() for _ in range(min(MAX_EVENTS, len(self._queue)))]
            if not events:
                return
            reason = self._deliver(events)
            if reason is None:
                self._metrics.webhook_delivered.inc(len(events))
            else:
                self._metrics.webhook_dropped.labels(reason).inc(len(events))

    def _deliver(self, events: list[Event]) -> str | None:
        """Send with retries; return None on success, else the reason of the drop."""
        body = json.dumps(
            {"version": PAYLOAD_VERSION, "events": events}, separators=(",", ":")
        ).encode()
        for attempt in range(MAX_ATTEMPTS):
            failure, is_final = self._post(body)
            if failure is None:
                return None
            _log.log(
                logging.WARNING if attempt == 0 or is_final else logging.DEBUG,
                "webhook delivery of %d events failed: %s",
                len(events),
                failure,
            )
            if is_final:
                return "refused"
            max_backoff_s = min(FIRST_BACKOFF_S * 2**attempt, MAX_BACKOFF_S)
            backoff_s = max_backoff_s * random.uniform(0.5, 1.0)  # noqa: S311
            if attempt + 1 < MAX_ATTEMPTS and self._wait(backoff_s):
                return "stopped"
        return "failed"

    def _post(self, body: bytes) -> tuple[str | None, bool]:
        """Send one request; return the error, if any, and whether a retry is pointless."""
        timestamp = int(time.time())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "facestream",
            "X-Facestream-Timestamp": str(timestamp),
        }
        if self._secret:
            headers["X-Facestream-Signature"] = signature(self._secret, timestamp, body)
        target = self._url.path or "/"
        if self._url.query:
            target += f"?{self._url.query}"
        try:
            connection = self._connect()
            try:
                connection.request("POST", target, body, headers)
                status = connection.getresponse().status
            finally:
                connection.close()
        except AddressError as error:
            return str(error), False
        except (OSError, HTTPException, ValueError) as error:
            return redact(str(error) or type(error).__name__), False
        if 200 <= status < 300:
            return None, False
        return f"HTTP {status}", status < 500 and status not in _RETRY_STATUSES

    def _connect(self) -> HTTPConnection:
        """Connect to the first allowed address of the receiver that accepts a connection.

        Raises:
            AddressError: the egress policy allows none of its addresses.
            OSError: no address accepts a connection.
        """
        host = str(self._url.hostname)
        connection_class = HTTPSConnection if self._tls else HTTPConnection
        port = self._url.port or connection_class.default_port
        connection = connection_class(host, port, timeout=TIMEOUT_S)
        connection.sock = _connect_to_any(self._egress_policy.resolve_allowed(host, port), port)
        if self._tls:
            connection.sock = self._tls.wrap_socket(connection.sock, server_hostname=host)
        return connection


def _connect_to_any(addresses: list[str], port: int) -> socket.socket:
    for address in addresses[:-1]:
        try:
            return socket.create_connection((address, port), TIMEOUT_S)
        except OSError:
            continue
    return socket.create_connection((addresses[-1], port), TIMEOUT_S)
