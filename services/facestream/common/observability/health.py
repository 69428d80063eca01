"""Health checks and metrics of one process over HTTP: `/livez`, `/readyz` and `/metrics`.

The service reports to `Health`: a `heartbeat` from its main loop, and a `Dependency` for each
thing it needs, which also logs when that becomes available or unavailable. `serve_health` responds
from a thread; the annotator mounts the same responses in its own web server.
"""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from facestream.common.core.errors import StartError
from facestream.common.security.redaction import redact
from facestream.common.security.trusted_hosts import is_trusted_host

_log = logging.getLogger(__name__)

_SHUTDOWN_S = 1.0


class Health:
    """Liveness and readiness of one process. Thread-safe.

    Args:
        required: names of the dependencies that the service needs to be ready: "broker", "model
            server". Others that are unavailable are reported, but the service stays ready.
        heartbeat_timeout_s: the main loop counts as stuck if its last heartbeat is older.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        required: tuple[str, ...],
        heartbeat_timeout_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock, self._timeout_s = clock, heartbeat_timeout_s
        self._lock, self._required = threading.Lock(), required
        self._missing = dict.fromkeys(required, "not connected yet")
        self._last_heartbeat = clock()

    def heartbeat(self) -> None:
        """Record that the main loop runs."""
        self._last_heartbeat = self._clock()

    def mark_available(self, name: str) -> bool:
        """Record that a dependency is available; return True if it was not."""
        with self._lock:
            return self._missing.pop(name, None) is not None

    def mark_unavailable(self, name: str, reason: str) -> bool:
        """Record that a dependency is unavailable, and why; return True if it was available."""
        with self._lock:
            was_available = name not in self._missing
            self._missing[name] = redact(reason)
            return was_available

    def live(self) -> tuple[bool, dict[str, object]]:
        """Return whether the main loop runs, and the body of `/livez`."""
        silent_s = self._clock() - self._last_heartbeat
        live = silent_s <= self._timeout_s
        return live, {"live": live, "silent_s": round(silent_s, 1)}

    def ready(self) -> tuple[bool, dict[str, object]]:
        """Return whether the service can work now, and the body of `/readyz`."""
        with self._lock:
            missing = dict(self._missing)
        ready = missing.keys().isdisjoint(self._required) and self.live()[0]
        return ready, {"ready": ready, "missing": missing}


class Dependency:
    """Something that a service needs, such as the broker. Thread-safe.

    It updates the health, and logs once when it becomes available or unavailable.

    Args:
        health: of the service.
        name: as in `required` of the health.
    """

    def __init__(self, health: Health, name: str) -> None:
        self._health, self._name = health, name
        self._lock = threading.Lock()
        self._is_up: bool | None = None

    @property
    def is_up(self) -> bool:
        """Whether the last use succeeded; False before the first."""
        return bool(self._is_up)

    def report(self, failure: str | None) -> None:
        """Record a use of the dependency: None for success, else the failure in one line."""
        is_up = failure is None
        with self._lock:
            has_changed = self._is_up is not is_up
            self._is_up = is_up
            if failure is None:
                self._health.mark_available(self._name)
                if has_changed:
                    _log.info("%s connected", self._name)
            else:
                self._health.mark_unavailable(self._name, failure)
                if has_changed:
                    _log.warning("%s unavailable: %s; retrying", self._name, failure)


def serve_health(
    health: Health,
    registry: CollectorRegistry,
    host: str,
    port: int,
    allowed_hosts: Collection[str] = (),
) -> ThreadingHTTPServer:
    """Serve `/livez`, `/readyz` and `/metrics` from a daemon thread.

    `/metrics` checks the Host header against DNS rebinding: it must be an address, a local name
    such as a Compose or Kubernetes service, or one of `allowed_hosts`. A request without the
    header does not come from a browser.

    Returns:
        the server: `server_port` is the actual port if `port` is 0, `shutdown()` stops it.

    Raises:
        StartError: the port is in use, or the address is not one of this machine.
    """

    class Handler(BaseHTTPRequestHandler):
        timeout = 5

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/metrics" and not is_trusted_host(
                self.headers.get("Host", "localhost"), allowed_hosts
            ):
                self._respond(403, b'{"detail": "invalid Host header"}', "application/json")
            elif path == "/metrics":
                self._respond(200, generate_latest(registry), CONTENT_TYPE_LATEST)
            elif path in ("/livez", "/readyz"):
                is_ok, body = health.live() if path == "/livez" else health.ready()
                self._respond(200 if is_ok else 503, json.dumps(body).encode(), "application/json")
            else:
                self._respond(
                    404, b'{"detail": "try /livez, /readyz or /metrics"}', "application/json"
                )

        do_HEAD = do_GET  # noqa: N815 - http.server looks the method up by this name

        def _respond(self, status: int, body: bytes, content_type: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cross-Origin-Resource-Policy", "same-origin")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.end_headers()
            if self.command != "HEAD":
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
    """HTTP server that blocks until a request arrives; `serve_forever` polls for the shutdown."""

    def start(self) -> None:
        self._is_shut_down = False
        self._thread = threading.Thread(target=self._serve, name="health", daemon=True)
        self._thread.start()

    def shutdown(self) -> None:
        self._is_shut_down = True
        with suppress(OSError):  # some systems cannot shut down a listening socket
            self.socket.shutdown(socket.SHUT_RDWR)
            self._thread.join(_SHUTDOWN_S)

    def _serve(self) -> None:
        while not self._is_shut_down:
            self.handle_request()

    # A client that disconnects before the response needs no traceback on standard error.
    def handle_error(self, request: object, client_address: object) -> None:
        _log.debug("health: a request failed", exc_info=True)
