"""Tells an address of yours of every person counted: signed, with retries, never in the way.

What waits is bounded, what is given up is counted. One thread sends, several events at a time:

    POST <webhook_url>
    X-Facestream-Timestamp: 1767225600
    X-Facestream-Signature: sha256=<hex of HMAC-SHA256(secret, timestamp + "." + body)>
    {"events": [{"id": …, "at": …, "camera": …, "what": "visit", …}]}

An answer 2xx takes the events. 408, 429, 5xx and no answer are tried again; anything else is a
refusal. A receiver may be told twice (its answer may be lost): `id` tells.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import random
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Mapping
from http.client import HTTPException
from typing import Any

from services.common.metrics import AnnotatorMetrics
from services.common.redaction import redact

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
        secret: without one, nothing is signed.
        pause: waits that long unless it is told to stop; returns whether it was.
    """

    def __init__(
        self,
        url: str,
        secret: str | None,
        metrics: AnnotatorMetrics,
        pause: Callable[[float], bool] | None = None,
    ) -> None:
        self._url, self._secret, self._metrics = url, secret, metrics
        self._waiting: deque[Event] = deque()
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._pause = pause or self._stopping.wait
        self._opener = urllib.request.build_opener(_NoRedirect)
        self._thread = threading.Thread(target=self._run, name="webhook", daemon=True)

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
                self._metrics.webhook_sent.inc(len(events))
            else:
                self._metrics.webhook_dropped.labels(reason).inc(len(events))

    def _deliver(self, events: list[Event]) -> str | None:
        """Send with retries; None when it was taken, or why it was given up."""
        body = json.dumps({"events": events}, separators=(",", ":")).encode()
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
        request = urllib.request.Request(self._url, body, headers, method="POST")  # noqa: S310
        try:
            with self._opener.open(request, timeout=TIMEOUT_S):
                return None, False
        except urllib.error.HTTPError as error:
            error.close()
            return f"it answers {error.code}", error.code < 500 and error.code not in _AGAIN
        except (OSError, HTTPException, ValueError) as error:
            return redact(str(getattr(error, "reason", error)) or type(error).__name__), False


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """What is told one address is not for another."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None
