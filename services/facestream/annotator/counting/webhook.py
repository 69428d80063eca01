"""Tells an address of yours of every person counted: signed, with retries, never in the way.

What waits is bounded, what is given up is counted. One thread sends, several events at a time:

    POST <webhook_url>
    X-Facestream-Timestamp: 1767225600
    X-Facestream-Signature: sha256=<hex of HMAC-SHA256(secret, timestamp + "." + body)>
    {"version": 1, "events": [{"id": …, "timestamp": …, "camera": …, "kind": "visit", …}]}

An answer 2xx takes the events. 408, 429, 5xx and no answer are tried again; anything else is a
refusal. A receiver may be told twice (its answer may be lost): `id` tells.

Its host is looked up at each try, and what is connected is an address that was judged: see
`services/facestream/common/security/egress_policy.py`. No redirection is followed and no proxy asked.
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
MAX_WAITING = 1000
MAX_EVENTS = 50  # in one request
TRIES = 6
FIRST_PAUSE_S, MAX_PAUSE_S = 1.0, 30.0
TIMEOUT_S = 5.0
_AGAIN = (408, 429)

Event = Mapping[str, object]
_log = logging.getLogger(__name__)


def signature(secret: str, timestamp: int, body: bytes) -> str:
    """What stands in `X-Facestream-Signature`."""
    signed = str(timestamp).encode() + b"." + body
    return "sha256=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


class Webhook:
    """Sends events from a thread of its own.

    Args:
        url: `http://…` or `https://…`, without user and password.
        secret: without one, nothing is signed.
        reach: where the receiver may be.
        pause: waits that long unless it is told to stop; returns whether it was.
    """

    def __init__(
        self,
        url: str,
        secret: str | None,
        reach: EgressPolicy,
        metrics: AnnotatorMetrics,
        pause: Callable[[float], bool] | None = None,
    ) -> None:
        self._url, self._secret, self._metrics = urlsplit(url), secret, metrics
        self._reach = reach
        is_secure = self._url.scheme == "https"
        self._tls = ssl.create_default_context() if is_secure else None
        self._waiting: deque[Event] = deque()
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._pause = pause or self._stopping.wait
        self._thread = threading.Thread(target=self._run, name="webhook", daemon=True)
        for reason in ("overflow", "refused", "failed", "stopped"):  # at 0: alerts see it rise
            metrics.webhook_dropped.labels(reason)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def put(self, event: Event) -> None:
        """Send this soon; the oldest that waits is given up where too many do."""
        with self._changed:
            self._waiting.append(event)
            if len(self._waiting) > MAX_WAITING:
                self._waiting.popleft()
                self._metrics.webhook_dropped.labels("overflow").inc()
            self._changed.notify()

    def stop(self, within_s: float) -> None:
        """Try what waits once more, then end."""
        self._stopping.set()
        with self._changed:
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(within_s)
        with self._changed:
            if self._waiting:
                self._metrics.webhook_dropped.labels("stopped").inc(len(self._waiting))
                self._waiting.clear()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._stopping.is_set():
                    self._changed.wait()
                events = [
                    self._waiting.popleft() for _ in range(min(MAX_EVENTS, len(self._waiting)))
                ]
            if not events:
                return
            reason = self._deliver(events)
            if reason is None:
                self._metrics.webhook_delivered.inc(len(events))
            else:
                self._metrics.webhook_dropped.labels(reason).inc(len(events))

    def _deliver(self, events: list[Event]) -> str | None:
        """Send with retries; None when it was taken, or why it was given up."""
        body = json.dumps({"version": PAYLOAD_VERSION, "events": events}, separators=(",", ":")).encode()
        for tried in range(TRIES):
            failure, is_final = self._post(body)
            if failure is None:
                return None
            _log.log(
                logging.WARNING if tried == 0 or is_final else logging.DEBUG,
                "the webhook did not take %d events: %s",
                len(events),
                failure,
            )
            if is_final:
                return "refused"
            longest_s = min(FIRST_PAUSE_S * 2**tried, MAX_PAUSE_S)
            if tried + 1 < TRIES and self._pause(longest_s * random.uniform(0.5, 1.0)):  # noqa: S311
                return "stopped"
        return "failed"

    def _post(self, body: bytes) -> tuple[str | None, bool]:
        """Why it was not taken, and whether another try is of no use."""
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
            connection = self._connected()
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
        return f"it answers {status}", status < 500 and status not in _AGAIN

    def _connected(self) -> HTTPConnection:
        """A connection to the first address of the receiver that may be used and answers.

        Raises:
            AddressError: it has none that may be used.
            OSError: none answers.
        """
        host = str(self._url.hostname)
        kind = HTTPSConnection if self._tls else HTTPConnection
        port = self._url.port or kind.default_port
        connection = kind(host, port, timeout=TIMEOUT_S)
        connection.sock = _first_that_answers(self._reach.resolve_allowed(host, port), port)
        if self._tls:
            connection.sock = self._tls.wrap_socket(connection.sock, server_hostname=host)
        return connection


def _first_that_answers(addresses: list[str], port: int) -> socket.socket:
    for address in addresses[:-1]:
        try:
            return socket.create_connection((address, port), TIMEOUT_S)
        except OSError:
            continue
    return socket.create_connection((addresses[-1], port), TIMEOUT_S)
