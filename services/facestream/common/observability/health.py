"""Is this process alive, and can it do its work? `/livez`, `/readyz` and `/metrics` over HTTP.

`Health` is fed by the service: `beat` from its main loop, and a `Dependency` for each thing it cannot do
without, which also says in the log when that comes and goes. `serve_health` answers from a thread;
the annotator mounts the same answers in its own web server.
"""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from facestream.common.core.errors import StartError
from facestream.common.security.redaction import redact

_log = logging.getLogger(__name__)

_END_S = 1.0


class Health:
    """What is known of one process's health. Thread-safe.

    Args:
        needs: what must be `present` before the service is ready, e.g. "broker", "model server".
            Something else that is `missing` is told, and the service goes on without it.
        beat_deadline_s: the main loop counts as stuck when it has not beaten for so long.
    """

    def __init__(
        self,
        needs: tuple[str, ...],
        beat_deadline_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock, self._deadline_s = clock, beat_deadline_s
        self._lock, self._needs = threading.Lock(), needs
        self._missing = dict.fromkeys(needs, "not reached yet")
        self._beat_at = clock()

    def heartbeat(self) -> None:
        """The main loop went round."""
        self._beat_at = self._clock()

    def mark_available(self, need: str) -> bool:
        """This need is met; True if it was missing until now."""
        with self._lock:
            return self._missing.pop(need, None) is not None

    def mark_unavailable(self, need: str, reason: str) -> bool:
        """This need is not met, and why; True if it was met until now."""
        with self._lock:
            new = need not in self._missing
            self._missing[need] = redact(reason)
            return new

    def live(self) -> tuple[bool, dict[str, object]]:
        """Whether the main loop runs, and the answer of `/livez`."""
        silent_s = self._clock() - self._beat_at
        live = silent_s <= self._deadline_s
        return live, {"live": live, "silent_s": round(silent_s, 1)}

    def ready(self) -> tuple[bool, dict[str, object]]:
        """Whether the service can do its work now, and `/readyz`, which says what is missing."""
        with self._lock:
            missing = dict(self._missing)
        ready = missing.keys().isdisjoint(self._needs) and self.live()[0]
        return ready, {"ready": ready, "missing": missing}


class Dependency:
    """Something a service cannot do without, such as the broker. Thread-safe.

    Feeds the health, and logs once when it comes or goes, however often it is reported.

    Args:
        health: of the service.
        name: the same as among the health's `needs`.
    """

    def __init__(self, health: Health, name: str) -> None:
        self._health, self._name = health, name
        self._lock = threading.Lock()
        self._is_up: bool | None = None

    @property
    def is_up(self) -> bool:
        """Whether it worked when it was last tried; False before that."""
        return bool(self._is_up)

    def report(self, failure: str | None) -> None:
        """It worked (None), or why it did not, in one line."""
        is_up = failure is None
        with self._lock:
            is_news = self._is_up is not is_up
            self._is_up = is_up
            if failure is None:
                self._health.mark_available(self._name)
                if is_news:
                    _log.info("the %s answers", self._name)
            else:
                self._health.mark_unavailable(self._name, failure)
                if is_news:
                    _log.warning("the %s is away: %s; waiting for it", self._name, failure)


def serve_health(
    health: Health, registry: CollectorRegistry, host: str, port: int
) -> ThreadingHTTPServer:
    """Answer `/livez`, `/readyz` and `/metrics` from a daemon thread.

    Returns:
        the server; `server_port` tells the port where 0 was asked for, `shutdown()` ends it.

    Raises:
        StartError: the port is taken or the address is not this machine's.
    """

    class Handler(BaseHTTPRequestHandler):
        timeout = 5

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/metrics":
                self._answer(200, generate_latest(registry), CONTENT_TYPE_LATEST)
            elif path in ("/livez", "/readyz"):
                good, body = health.live() if path == "/livez" else health.ready()
                self._answer(200 if good else 503, json.dumps(body).encode(), "application/json")
            else:
                self._answer(
                    404, b'{"detail": "try /livez, /readyz or /metrics"}', "application/json"
                )

        def _answer(self, status: int, body: bytes, content_type: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            _log.debug("health: " + format, *args)

    try:
        server = _Server((host, port), Handler)
    except OSError as error:
        raise StartError(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another with --health-port"
        ) from None
    server.daemon_threads = True
    server.start()
    return server


class _Server(ThreadingHTTPServer):
    """Sleeps until somebody asks, where `serve_forever` wakes up to see whether it is to end."""

    def start(self) -> None:
        self._has_ended = False
        self._thread = threading.Thread(target=self._serve, name="health", daemon=True)
        self._thread.start()

    def shutdown(self) -> None:
        self._has_ended = True
        with suppress(OSError):  # not everywhere can a socket that listens be woken up so
            self.socket.shutdown(socket.SHUT_RDWR)
            self._thread.join(_END_S)

    def _serve(self) -> None:
        while not self._has_ended:
            self.handle_request()

    # Whoever asked and hung up before the answer is no matter for standard error.
    def handle_error(self, request: object, client_address: object) -> None:
        _log.debug("health: a request failed", exc_info=True)
