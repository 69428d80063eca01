"""The annotator as a process: what belongs together, started in order and ended in order."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator

import uvicorn
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from facestream.annotator.api.app import create_app
from facestream.annotator.api.sse import EventBus
from facestream.annotator.auth.accounts import Accounts, load_accounts
from facestream.annotator.auth.authentication import Authenticator
from facestream.annotator.counting.people_counter import FLUSH_INTERVAL_S, PeopleCounter
from facestream.annotator.http_server import LimitedHttpProtocol
from facestream.annotator.ingest.stream_reader import DEPENDENCY, StreamReader
from facestream.annotator.live_state import LiveState
from facestream.annotator.metrics import AnnotatorMetrics
from facestream.annotator.people.recent_history import SAMPLE_INTERVAL_S
from facestream.annotator.periodic import next_tick, run_every
from facestream.annotator.phone.routes import PhoneIngest
from facestream.annotator.settings import AnnotatorSettings
from facestream.annotator.video.mjpeg_hub import NOTICE_EVERY_S, MjpegHub
from facestream.common.broker.connection import connect, connect_async
from facestream.common.core.errors import SettingsError, StartError
from facestream.common.observability.health import Health, serve_health
from facestream.common.vision.displayed_estimate import DisplayThresholds

_PEOPLE_EVERY_S = 0.5
_SYSTEM_EVERY_S = 2.0
_DATE_EVERY_S = 1.0
_GRACE_S = 3
_CANCEL_AGAIN_S = 0.5
_BACKLOG = 128
# What a slow viewer's connection may hold: more would be pictures of seconds ago.
_SEND_BUFFER_BYTES = 512 * 1024


def serve(settings: AnnotatorSettings, stop: threading.Event) -> None:
    """Run until `stop` is set.

    Raises:
        StartError: a port is taken, the host is not this machine's, the certificate is no good, or
            counts cannot be kept.
        SettingsError: the accounts are malformed, or there are none for a host that others reach.
    """
    accounts = load_accounts(
        settings.admin_token_file, settings.viewer_token_file, settings.users_file
    )
    _check_certificate(settings)
    registry = CollectorRegistry()
    health = Health((DEPENDENCY,))
    with _listen(settings.host, settings.port) as listener:
        if not accounts:
            _check_that_only_we_reach(listener)
        server = serve_health(health, registry, settings.health_host, settings.health_port)
        try:
            with asyncio.Runner(loop_factory=_loop_factory()) as runner:
                runner.run(_serve(settings, stop, listener, accounts, registry, health))
        finally:
            server.shutdown()
            server.server_close()


async def _serve(
    settings: AnnotatorSettings,
    stop: threading.Event,
    listener: socket.socket,
    accounts: Accounts,
    registry: CollectorRegistry,
    health: Health,
) -> None:
    metrics = AnnotatorMetrics(registry)
    events = EventBus(settings.max_event_streams)
    rule = DisplayThresholds(
        settings.display_min_evidence,
        settings.display_max_age_interval_years,
        settings.display_min_gender_probability,
    )

    def studio_of(board: LiveState) -> MjpegHub:
        return MjpegHub(
            metrics,
            settings.jpeg_quality,
            settings.max_video_streams,
            settings.stale_frame_timeout_s,
            board.status,
        )

    people_counter = PeopleCounter.open(settings, events, metrics, health)
    board = LiveState(rule, settings.track_retention_s, studio_of, events, metrics, people_counter)
    calls, reads = connect(settings.broker), connect_async(settings.broker)
    phone_broker = connect_async(settings.broker)
    intake = StreamReader(reads, calls, board, metrics, health)
    host, port = listener.getsockname()[:2]
    door = Authenticator(accounts, port)
    phones = PhoneIngest(settings, board, phone_broker, metrics)
    app = create_app(settings, board, intake, events, health, registry, door, phones)
    server = _Server(app, settings)
    logging.info(
        "page and API at %s://%s:%d, %s",
        "https" if settings.tls_cert_file else "http",
        host,
        port,
        "for those who sign in" if accounts else "for all on this machine",
    )
    try:
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(work)
                for work in (
                    intake.refresh_loop(),
                    intake.run(),
                    run_every(_PEOPLE_EVERY_S, board.publish_people),
                    run_every(_SYSTEM_EVERY_S, board.publish_status),
                    run_every(SAMPLE_INTERVAL_S, board.publish_history),
                    run_every(_PEOPLE_EVERY_S, people_counter.publish_counts),
                    run_every(FLUSH_INTERVAL_S, people_counter.flush),
                    run_every(NOTICE_EVERY_S, board.studio.publish_placeholders),
                )
            ]
            web = tasks.create_task(server.serve(sockets=[listener]))
            ended = asyncio.ensure_future(_set(stop))
            await asyncio.wait((ended, web), return_when=asyncio.FIRST_COMPLETED)
            ended.cancel()
            events.close()
            board.studio.close()
            server.end()
            await web
            await _end(running)
    finally:
        board.studio.shutdown()
        await people_counter.close()
        await reads.aclose()
        await phone_broker.aclose()
        calls.close()


class _Server(uvicorn.Server):
    """uvicorn, leaving the signals to who called it."""

    def __init__(self, app: FastAPI, settings: AnnotatorSettings) -> None:
        class Http(LimitedHttpProtocol):
            send_timeout_s = settings.send_timeout_s

        super().__init__(
            uvicorn.Config(
                app,
                http=Http,
                log_config=None,
                log_level="warning",
                access_log=False,
                lifespan="off",
                server_header=False,
                forwarded_allow_ips=settings.trusted_proxies,
                timeout_graceful_shutdown=_GRACE_S,
                ssl_certfile=settings.tls_cert_file,
                ssl_keyfile=settings.tls_key_file,
            )
        )
        self._ends = asyncio.Event()

    def end(self) -> None:
        """Have `serve` close what is open and return."""
        self.should_exit = True
        self._ends.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield

    async def main_loop(self) -> None:
        """As uvicorn's own, which looks ten times a second whether it is to end."""
        first_tick = 0  # the one that also brings the time in the answers' headers up to date
        loop = asyncio.get_running_loop()
        while not await self.on_tick(first_tick):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(next_tick(loop.time(), _DATE_EVERY_S)):
                    await self._ends.wait()


async def _end(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel until they have ended.

    Once is not enough: on a busy machine a cancellation was seen to be swallowed while the broker's
    client read, and the task went on for ever.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_CANCEL_AGAIN_S)


async def _set(event: threading.Event) -> None:
    """Return once a thread has set it; nobody is woken up to look whether one has."""
    loop, seen = asyncio.get_running_loop(), asyncio.Event()

    def wait() -> None:
        event.wait()
        with contextlib.suppress(RuntimeError):  # the loop has ended for another reason
            loop.call_soon_threadsafe(seen.set)

    threading.Thread(target=wait, name="stop", daemon=True).start()
    await seen.wait()


def _check_certificate(settings: AnnotatorSettings) -> None:
    """Told here in one line; uvicorn would end with a traceback."""
    if settings.tls_cert_file is None or settings.tls_key_file is None:
        return
    try:
        # The answer to a key with a passphrase: there is nobody to type it in.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            settings.tls_cert_file, settings.tls_key_file, password=lambda: ""
        )
    except OSError as error:
        raise StartError(
            f"{settings.tls_cert_file} and {settings.tls_key_file}: not a certificate and its key: "
            f"{error.strerror or error}"
        ) from None


def _check_that_only_we_reach(listener: socket.socket) -> None:
    host = str(listener.getsockname()[0]).partition("%")[0]
    if not ipaddress.ip_address(host).is_loopback:
        raise SettingsError(
            f"on {host} everybody in the network could look and change cameras: give --admin-token-file "
            "or --users-file, or listen on 127.0.0.1"
        )


def _listen(host: str, port: int) -> socket.socket:
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


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:  # not on every platform
        return asyncio.new_event_loop
    return uvloop.new_event_loop
