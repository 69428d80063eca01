"""The annotator process: wires its parts together, starts them and stops them in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry

from facestream.annotator.api.app import create_app
from facestream.annotator.api.sse import EventBus
from facestream.annotator.auth.accounts import Accounts, load_accounts
from facestream.annotator.auth.authentication import Authenticator
from facestream.annotator.counting.people_counter import FLUSH_INTERVAL_S, PeopleCounter
from facestream.annotator.event_publisher import EventPublisher
from facestream.annotator.http_server import (
    HttpServer,
    check_certificate,
    check_is_loopback,
    open_listener,
)
from facestream.annotator.ingest.stream_reader import DEPENDENCY, StreamReader
from facestream.annotator.live_state import LiveState
from facestream.annotator.metrics import AnnotatorMetrics
from facestream.annotator.people.recent_history import SAMPLE_INTERVAL_S
from facestream.annotator.periodic import run_every
from facestream.annotator.phone.routes import PhoneIngest
from facestream.annotator.settings import AnnotatorSettings
from facestream.annotator.stream_limit import StreamLimit
from facestream.annotator.video.mjpeg_hub import PLACEHOLDER_INTERVAL_S, MjpegHub
from facestream.common.broker.connection import connect, connect_async
from facestream.common.observability.health import Health, serve_health
from facestream.common.security.trusted_hosts import parse_allowed_hosts
from facestream.common.vision.displayed_estimate import DisplayThresholds

_PEOPLE_INTERVAL_S = 0.5
_STATUS_INTERVAL_S = 2.0
_CANCEL_RETRY_S = 0.5
_TOO_MANY_STREAMS = (
    "too many video streams; close some, or raise FACESTREAM_ANNOTATOR_MAX_VIDEO_STREAMS or "
    "FACESTREAM_ANNOTATOR_MAX_STREAMS_PER_CLIENT"
)
_TOO_MANY_PAGES = (
    "too many open pages; close some, or raise FACESTREAM_ANNOTATOR_MAX_EVENT_STREAMS or "
    "FACESTREAM_ANNOTATOR_MAX_STREAMS_PER_CLIENT"
)


def serve(settings: AnnotatorSettings, stop: threading.Event) -> None:
    """Run until `stop` is set.

    Raises:
        StartError: a port is in use, the host is not an address of this machine, the certificate is
            invalid, or the counts file is of a later version of facestream.
        SettingsError: the accounts are malformed, or there are no accounts and other machines can
            reach the host.
    """
    accounts = load_accounts(
        settings.admin_token_file, settings.viewer_token_file, settings.users_file
    )
    check_certificate(settings)
    registry = CollectorRegistry()
    health = Health((DEPENDENCY,))
    with open_listener(settings.host, settings.port) as listener:
        if not accounts:
            check_is_loopback(listener)
        server = serve_health(
            health,
            registry,
            settings.health_host,
            settings.health_port,
            parse_allowed_hosts(settings.allowed_hosts),
        )
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
    per_client = settings.max_streams_per_client
    events = EventBus(StreamLimit(settings.max_event_streams, per_client, _TOO_MANY_PAGES))
    thresholds = DisplayThresholds(
        settings.display_min_evidence,
        settings.display_max_age_interval_years,
        settings.display_min_gender_probability,
    )

    def create_mjpeg_hub(live_state: LiveState) -> MjpegHub:
        return MjpegHub(
            metrics,
            settings.jpeg_quality,
            StreamLimit(settings.max_video_streams, per_client, _TOO_MANY_STREAMS),
            settings.stale_frame_timeout_s,
            live_state.status,
        )

    people_counter = PeopleCounter.open(settings, events, metrics, health)
    live_state = LiveState(
        thresholds, settings.track_retention_s, create_mjpeg_hub, metrics, people_counter
    )
    publisher = EventPublisher(live_state, events, metrics)
    broker, async_broker = connect(settings.broker), connect_async(settings.broker)
    phone_broker = connect_async(settings.broker)
    stream_reader = StreamReader(async_broker, broker, live_state, metrics, health)
    host, port = listener.getsockname()[:2]
    authenticator = Authenticator(accounts, port)
    phones = PhoneIngest(settings, live_state, phone_broker, metrics)
    server = HttpServer(
        create_app(
            settings, live_state, stream_reader, events, health, registry, authenticator, phones
        ),
        settings,
    )
    logging.info(
        "web UI and API at %s://%s:%d, %s",
        "https" if settings.tls_cert_file else "http",
        host,
        port,
        "authentication required" if accounts else "no authentication, this machine only",
    )
    try:
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(work)
                for work in (
                    stream_reader.refresh_loop(),
                    stream_reader.run(),
                    run_every(_PEOPLE_INTERVAL_S, publisher.publish_people),
                    run_every(_STATUS_INTERVAL_S, publisher.publish_status),
                    run_every(SAMPLE_INTERVAL_S, publisher.publish_history),
                    run_every(_PEOPLE_INTERVAL_S, people_counter.publish_counts),
                    run_every(FLUSH_INTERVAL_S, people_counter.flush),
                    run_every(PLACEHOLDER_INTERVAL_S, live_state.mjpeg_hub.publish_placeholders),
                )
            ]
            web = tasks.create_task(server.serve(sockets=[listener]))
            stop_requested = asyncio.ensure_future(_wait_for(stop))
            await asyncio.wait((stop_requested, web), return_when=asyncio.FIRST_COMPLETED)
            stop_requested.cancel()
            events.close()
            live_state.mjpeg_hub.close()
            server.stop()
            await web
            await _cancel_all(running)
    finally:
        live_state.mjpeg_hub.shutdown()
        await people_counter.close()
        await async_broker.aclose()
        await phone_broker.aclose()
        broker.close()


async def _cancel_all(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel tasks repeatedly until they have ended.

    On a busy machine the broker client can swallow a cancellation during a read: one call to
    `cancel` would leave the task running.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_CANCEL_RETRY_S)


async def _wait_for(event: threading.Event) -> None:
    """Wait until another thread sets the event, without polling."""
    loop, is_set = asyncio.get_running_loop(), asyncio.Event()

    def wait() -> None:
        event.wait()
        with contextlib.suppress(RuntimeError):  # the loop was closed for another reason
            loop.call_soon_threadsafe(is_set.set)

    threading.Thread(target=wait, name="stop", daemon=True).start()
    await is_set.wait()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:  # uvloop does not support every platform
        return asyncio.new_event_loop
    return uvloop.new_event_loop
