"""HTTP server with connection limits: the listener socket, TLS certificate check and uvicorn.

uvicorn with httptools limits neither the size of request headers nor the time that a client takes.
Clients that are not authenticated yet must not be able to exhaust the server: not by endless
headers or requests, not by sending slowly (slowloris), not by not reading (slow client), and not by
idle connections or TLS handshakes that never complete.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
import ssl
from collections.abc import Iterator

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from facestream.annotator.connection_limit import (
    MAX_CONNECTIONS,
    RESERVED_FILES,
    ConnectionLimit,
)
from facestream.annotator.http10 import UnchunkedCycle
from facestream.annotator.log_rate_limit import LogRateLimit
from facestream.annotator.periodic import next_tick
from facestream.annotator.settings import AnnotatorSettings
from facestream.common.core.errors import SettingsError, StartError
from facestream.common.core.process_lifecycle import raise_open_file_limit

MAX_HEADER_BYTES = 64 * 1024
HEADER_TIMEOUT_S = 20.0
BODY_TIMEOUT_S = 20.0  # from the end of the headers
MAX_PIPELINED_REQUESTS = 4  # per connection, behind the request that is being served

TLS_HANDSHAKE_TIMEOUT_S = 5.0

_DATE_INTERVAL_S = 1.0
_SHUTDOWN_TIMEOUT_S = 3
_BACKLOG = 128
# Limit of unsent bytes of a slow client: with more it would see frames that are seconds old.
_SEND_BUFFER_BYTES = 512 * 1024


class HttpServer(uvicorn.Server):
    """uvicorn that leaves signal handlers to its caller and sleeps between clock ticks."""

    def __init__(self, app: FastAPI, settings: AnnotatorSettings) -> None:
        open_files = raise_open_file_limit()
        limit = max(64, min(MAX_CONNECTIONS, open_files - RESERVED_FILES))

        class Protocol(LimitedHttpProtocol):
            send_timeout_s = settings.send_timeout_s
            connection_limit = ConnectionLimit(limit)

        super().__init__(
            uvicorn.Config(
                app,
                http=Protocol,
                log_config=None,
                log_level="warning",
                access_log=False,
                lifespan="off",
                server_header=False,
                proxy_headers=bool(settings.trusted_proxies.strip()),
                forwarded_allow_ips=settings.trusted_proxies,
                timeout_graceful_shutdown=_SHUTDOWN_TIMEOUT_S,
                ssl_certfile=settings.tls_cert_file,
                ssl_keyfile=settings.tls_key_file,
            )
        )
        self._stop = asyncio.Event()
        # `asyncio` logs each failed TLS handshake, `uvicorn.error` each invalid request.
        for name in ("uvicorn.error", "asyncio"):
            logger = logging.getLogger(name)
            if not any(isinstance(each, LogRateLimit) for each in logger.filters):
                logger.addFilter(LogRateLimit())

    def stop(self) -> None:
        """Make `serve` close all connections and return."""
        self.should_exit = True
        self._stop.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install no signal handlers."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve these sockets; uvicorn itself allows a TLS handshake to take 60 s."""
        await super().startup(sockets=[])
        loop, config = asyncio.get_running_loop(), self.config
        for listener in sockets or ():
            server = await loop.create_server(
                lambda: config.http_protocol_class(  # type: ignore[call-arg]
                    config=config, server_state=self.server_state, app_state=self.lifespan.state
                ),
                sock=listener,
                ssl=config.ssl,
                ssl_handshake_timeout=TLS_HANDSHAKE_TIMEOUT_S if config.ssl else None,
                backlog=config.backlog,
            )
            self.servers.append(server)

    async def main_loop(self) -> None:
        """Update the Date header every second; uvicorn itself wakes up ten times per second."""
        first_tick = 0  # uvicorn updates the Date header at tick 0
        loop = asyncio.get_running_loop()
        while not await self.on_tick(first_tick):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(next_tick(loop.time(), _DATE_INTERVAL_S)):
                    await self._stop.wait()


class LimitedHttpProtocol(HttpToolsProtocol):
    """HTTP/1.1 connection that is closed if the client sends too much or too slowly, or stalls."""

    send_timeout_s = 20.0
    connection_limit = ConnectionLimit()
    _header_bytes = 0
    _in_headers = True
    _receive_timer: asyncio.TimerHandle | None = None
    _send_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timeout for the headers of the first request."""
        super().connection_made(transport)
        if not self.connection_limit.add(self, self.client[0] if self.client else ""):
            transport.abort()
            return
        # Report every unsent byte: below a higher limit the send timeout would never start.
        transport.set_write_buffer_limits(high=1)
        self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel all timeouts."""
        self.connection_limit.remove(self)
        self._stop_receive_timer()
        _cancel(self._send_timer)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Start the send timeout: unsent bytes wait for the client."""
        super().pause_writing()
        self._start_send_timer()

    def resume_writing(self) -> None:
        """Cancel the send timeout: the client has read everything."""
        _cancel(self._send_timer)
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        """Parse received bytes; close the connection if the headers exceed their limit."""
        super().data_received(data)
        if self._in_headers:
            self._header_bytes += len(data)
            if self._header_bytes > MAX_HEADER_BYTES:
                self.transport.close()
        # Any received byte cancels uvicorn's keep-alive timeout, even if it starts no request: an
        # empty line, or a body that arrives after its response.
        is_idle = self.cycle is None or self.cycle.response_complete
        if is_idle and self._receive_timer is None and not self.transport.is_closing():
            self._expect_headers()

    def on_message_begin(self) -> None:
        """Start a further request; uvicorn responds with 400 to the ValueError."""
        if len(self.pipeline) >= MAX_PIPELINED_REQUESTS:
            raise ValueError("too many pipelined requests")
        super().on_message_begin()
        self._expect_headers()

    def on_headers_complete(self) -> None:
        """Check the size of headers that arrived in one read, and start the body timeout."""
        header_bytes = len(self.url) + sum(
            len(name) + len(value) + 4 for name, value in self.headers
        )
        if header_bytes > MAX_HEADER_BYTES:
            raise ValueError("request headers too large")
        self._in_headers = False
        self._start_receive_timer(BODY_TIMEOUT_S)
        super().on_headers_complete()
        if self.scope["http_version"] == "1.0":
            cycle = self.pipeline[0][0] if self.pipeline else self.cycle
            cycle.__class__ = UnchunkedCycle

    def on_message_complete(self) -> None:
        """Cancel the body timeout."""
        self._stop_receive_timer()
        self.connection_limit.mark_busy(self)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Count the connection as idle until the next request is complete."""
        if not self.pipeline:
            self.connection_limit.mark_idle(self)
        super().on_response_complete()

    def drop(self) -> None:
        """Close the connection at once; the server is full."""
        self._stop_receive_timer()
        self.transport.abort()

    def _expect_headers(self) -> None:
        self._in_headers, self._header_bytes = True, 0
        self._start_receive_timer(HEADER_TIMEOUT_S)

    def _start_receive_timer(self, timeout_s: float) -> None:
        self._stop_receive_timer()
        self._receive_timer = self.loop.call_later(timeout_s, self.transport.close)

    def _stop_receive_timer(self) -> None:
        _cancel(self._receive_timer)
        self._receive_timer = None

    def _start_send_timer(self) -> None:
        unsent_bytes = self.transport.get_write_buffer_size()
        self._send_timer = self.loop.call_later(
            self.send_timeout_s, self._check_progress, unsent_bytes
        )

    def _check_progress(self, unsent_before: int) -> None:
        if self.transport.get_write_buffer_size() < unsent_before:
            self._start_send_timer()
        else:
            self.transport.abort()  # `close` would wait for the client to read everything


def open_listener(host: str, port: int) -> socket.socket:
    """Return a TCP socket that listens on host and port.

    Raises:
        StartError: the port is in use, or the host is not an address of this machine.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise StartError(f"cannot listen on {host}:{port}: {error.strerror}") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise StartError(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another port with --port"
        ) from None
    return listener


def check_is_loopback(listener: socket.socket) -> None:
    """Refuse to serve other machines without authentication.

    Raises:
        SettingsError: other machines can reach the address.
    """
    host = str(listener.getsockname()[0]).partition("%")[0]
    if not ipaddress.ip_address(host).is_loopback:
        raise SettingsError(
            f"refusing to listen on {host} without authentication; set --admin-token-file or "
            "--users-file, or listen on 127.0.0.1"
        )


def check_certificate(settings: AnnotatorSettings) -> None:
    """Check the TLS certificate and its key; uvicorn would end with a traceback.

    Raises:
        StartError: a file cannot be read, or they are not a certificate and its key.
    """
    if settings.tls_cert_file is None or settings.tls_key_file is None:
        return
    try:
        # An empty passphrase makes an encrypted key fail instead of prompting on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            settings.tls_cert_file, settings.tls_key_file, password=lambda: ""
        )
    except OSError as error:
        raise StartError(
            f"{settings.tls_cert_file} and {settings.tls_key_file}: not a certificate and its key: "
            f"{error.strerror or error}"
        ) from None


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
