"""The capture service: reads its share of the registry's cameras, and says how they are.

The control loop looks several times a second which cameras there should be, which of them are for
this replica to read, which somebody watches, and whether the broker has lost its memory; then
cameras given here or added at run time are put back, and after them the mark that says so. Readers,
detector and publisher work in threads of their own and go on when the broker is away, as long as no
other replica may have taken their cameras over.
"""

from __future__ import annotations

import logging
import math
import secrets
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

import cv2
import redis
from prometheus_client import CollectorRegistry

from facestream.capture.faces.detector_thread import DetectorThread
from facestream.capture.metrics import CaptureMetrics
from facestream.capture.ownership.assignment import LeaseTable, assign_cameras
from facestream.capture.ownership.camera_store import CameraStore
from facestream.capture.ownership.leases import Leases, replica_name
from facestream.capture.publishing.publisher import PublisherThread
from facestream.capture.settings import CaptureSettings
from facestream.capture.sources.camera_reader import CameraReader
from facestream.capture.sources.ffmpeg_logging import redirect_ffmpeg_logging
from facestream.common.broker import keys
from facestream.common.broker.connection import BROKER_ERRORS, SOCKET_TIMEOUT_S, connect, error_text
from facestream.common.cameras.config_file import load_cameras
from facestream.common.cameras.models import (
    STATES,
    Camera,
    CameraState,
    CameraStatus,
    check_unique_names,
)
from facestream.common.cameras.registry import CameraRegistry, RegistrySnapshot
from facestream.common.observability.health import Dependency, Health, serve_health
from facestream.common.security.egress_policy import ALLOW_ALL, EgressPolicy

_log = logging.getLogger(__name__)

POLL_S = 0.25
SURVEY_EVERY_S = 0.7  # each third round; reading all cameras costs more than asking who watches
STATUS_EVERY_S = 1.0
STOP_S = 8.0  # of the ten seconds that a service has to end
_LAST_CALLS_S = 0.5  # what of that is for the last words to the broker, if it answers
_BROKER = "broker"
_ALLOW_LOCAL = "FACESTREAM_CAPTURE_ALLOW_LOCAL_SOURCES=true"
_ALLOW_LINK_LOCAL = "FACESTREAM_CAPTURE_ALLOW_LINK_LOCAL_SOURCES=true"
_PHASE_STEP = 0.618  # golden ratio: any number of cameras is spread evenly over the period


def serve(settings: CaptureSettings, stop: threading.Event, cameras: Sequence[Camera] = ()) -> None:
    """Run until `stop` is set.

    Args:
        cameras: to be read from the start, besides those of `settings.cameras_file`.

    Raises:
        SettingsError: the cameras' file or the broker's URL is wrong.
        StartError: the health port is taken.
    """
    given = list(cameras)
    if settings.cameras_file is not None:
        given += load_cameras(settings.cameras_file)
    given = check_unique_names(given)
    broker, publishers, phones = (connect(settings.broker) for _ in range(3))
    registry = CollectorRegistry()
    metrics, health = CaptureMetrics(registry), Health(required=(_BROKER,))
    server = serve_health(health, registry, settings.health_host, settings.health_port)
    replica = replica_name(server.server_port)
    leases = Leases(broker, replica, settings.max_cameras, settings.lease_ttl_s, metrics)
    try:
        _Capture(settings, given, broker, publishers, phones, leases, metrics, health).run(stop)
    finally:
        server.shutdown()
        server.server_close()
        broker.close()
        publishers.close()
        phones.close()


class _Capture:
    def __init__(
        self,
        settings: CaptureSettings,
        given: list[Camera],
        broker: redis.Redis,
        publisher_broker: redis.Redis,
        phone_broker: redis.Redis,
        leases: Leases,
        metrics: CaptureMetrics,
        health: Health,
    ) -> None:
        self._settings, self._metrics, self._health = settings, metrics, health
        self._broker, self._registry, self._leases = broker, CameraRegistry(broker), leases
        self._phone_broker = phone_broker
        self._configured = {camera.name: camera for camera in given}
        self._given_urls = {camera.url for camera in given}
        self._kept = CameraStore(settings.camera_state_file, given)
        self._known = dict(self._configured)
        self._owned: set[str] = set()  # of the known, those that this replica reads
        self._unassigned: set[str] = set()  # those that none reads, and this one is to say so
        self._boot: bytes | None = None
        self._readers: dict[str, CameraReader] = {}
        self._stopping: list[CameraReader] = []
        self._refused: dict[str, CameraStatus] = {}
        self._published: dict[str, CameraStatus] = {}
        self._said_at = self._surveyed_at = -math.inf
        self._phase = 0.0
        self._broker_need = Dependency(health, _BROKER)
        self._publisher = PublisherThread(
            publisher_broker, settings, metrics, self._broker_need.report, leases.holds
        )
        self._detector = DetectorThread(settings, metrics, self._publisher.publish_detection)

    def run(self, stop: threading.Event) -> None:
        cv2.setNumThreads(1)
        redirect_ffmpeg_logging()
        self._detector.start()
        self._publisher.start()
        began = time.monotonic()
        try:
            while not stop.is_set():
                began = time.monotonic()
                self._health.heartbeat()
                self._tick()
                stop.wait(max(0.0, began + POLL_S - time.monotonic()))
        finally:
            # `stop` was set in the last round or after it; a broker that hangs makes rounds long.
            self._end(began + STOP_S)

    def _tick(self) -> None:
        try:
            began = time.monotonic()
            if began - self._surveyed_at >= SURVEY_EVERY_S:
                self._known = self._cameras_wanted()
                self._rebalance()
                self._reconcile_readers()
                self._surveyed_at = began
                self._kept.save(self._known)
            watched = self._registry.watched_cameras(list(self._readers)) if self._readers else set()
            for name, reader in self._readers.items():
                reader.has_viewers = name in watched
            statuses = self._statuses()
            if self._leases.are_valid:
                self._publish_statuses(statuses)
            self._broker_need.report(None)
        except BROKER_ERRORS as error:
            self._metrics.broker_errors.inc()
            self._broker_need.report(error_text(error))
            self._surveyed_at = -math.inf
            self._owned &= self._known.keys()  # what was removed is not waited for
            self._reconcile_readers()
            self._statuses()  # the metrics go on

    def _cameras_wanted(self) -> dict[str, Camera]:
        """The registry's cameras; those known here are put back first if it was lost."""
        # That boot is read after the cameras: still the same, it says that they were not lost.
        survey = self._registry.snapshot()
        if survey.epoch_after is None or survey.epoch_after != self._boot:
            self._restore_registry(survey)
            survey = self._registry.snapshot()
            self._boot = survey.epoch_after
        return survey.cameras

    def _restore_registry(self, survey: RegistrySnapshot) -> None:
        first, is_empty = self._boot is None, survey.epoch_after is None
        if first and not is_empty:
            self._registry.apply_configured(list(self._configured.values()))
        else:
            known = self._kept.initial_cameras() if first else self._known
            for name, camera in known.items():
                if name not in survey.cameras:  # else another one has put it back
                    self._registry.upsert(camera)
            for name in sorted(known.keys() - self._configured.keys() if first else ()):
                _log.info("camera %s: kept from before", name)
            self._registry.record_configured(list(self._configured.values()))
        # Last: while it is missing, others know that the cameras are not complete.
        self._broker.set(keys.EPOCH_KEY, secrets.token_hex(8), nx=True)
        if not first:
            _log.info("the broker was restarted: %d cameras put back", len(self._known))

    def _rebalance(self) -> None:
        """Claim this replica's share of the cameras; what is not in it goes once it is at rest."""
        me = self._leases.replica
        # A reader that was told to stop may hang in a read: its camera is not free before it ends.
        busy = {reader.camera.name for reader in [*self._readers.values(), *self._stopping]}
        table = self._leases.renew(busy | (self._owned & self._known.keys()))
        local = {name for name, camera in self._known.items() if camera.is_local}
        plugged_in = {
            name
            for name in local
            if self._may_read_local(self._known[name]) and table.holders.get(name, me) == me
        }
        holders = {**table.holders, **dict.fromkeys(plugged_in, me)}
        shares = assign_cameras(self._known.keys() - local, LeaseTable(table.replicas, holders))
        mine = {name for name, replica in shares.items() if replica == me} | plugged_in
        if self._leases.in_grace_period:
            mine &= table.held_by(me)
        if mine - table.held_by(me):
            table = self._leases.renew(busy | mine)
        self._owned = mine & table.held_by(me)
        is_first = me == min(table.replicas)
        unread = self._known.keys() - shares.keys() - table.holders.keys()
        self._unassigned = unread if is_first else set()

    def _reconcile_readers(self) -> None:
        """Start and stop readers so that exactly this replica's cameras are read."""
        self._stopping = [reader for reader in self._stopping if not reader.join(0.0)]
        # The broker is away, perhaps for this replica alone: then another one reads them by now.
        others_may_read = not (self._leases.are_valid or self._leases.is_only_replica)
        mine = set() if others_may_read else self._owned
        wanted = {name: camera for name, camera in self._known.items() if name in mine}
        for name in list(self._readers):
            if not _are_read_alike(wanted.get(name), self._readers[name].camera):
                self._stop_reader(name)
        spoken_for = wanted.keys() | self._unassigned
        self._refused = {name: s for name, s in self._refused.items() if name in spoken_for}
        for name, camera in self._known.items():
            if name in spoken_for and name not in self._readers:
                self._start_reader(name, camera)

    def _start_reader(self, name: str, camera: Camera) -> None:
        state, reason = self._rejection_reason(camera)
        if state is not None:
            before = self._refused.get(name)
            if before is None or (before.state, before.reason) != (state, reason):
                self._refused[name] = CameraStatus(
                    name=name, state=state, since=time.time(), reason=reason
                )
            return
        self._refused.pop(name, None)
        self._phase = (self._phase + _PHASE_STEP) % 1.0
        reader = CameraReader(
            camera,
            self._settings,
            self._metrics,
            reach=self._reach_of(camera),
            phone_broker=self._phone_broker,
            phase=self._phase,
            on_due=self._detector.request_detection,
            on_picture=self._publisher.publish_frame,
        )
        self._readers[name] = reader
        _log.info("camera %s: opening %s", name, camera.redacted_url())
        reader.start()

    def _rejection_reason(self, camera: Camera) -> tuple[CameraState | None, str]:
        if camera.paused:
            return "paused", "paused"
        if camera.is_local and not self._may_read_local(camera):
            return "failed", f"{camera.scheme}:// cameras added at run time need {_ALLOW_LOCAL}"
        if camera.name in self._unassigned or len(self._readers) >= self._settings.max_cameras:
            most = sum(self._leases.table.replicas.values())
            return "failed", f"capture reads {most} cameras at most; start another one"
        return None, ""

    def _may_read_local(self, camera: Camera) -> bool:
        return self._settings.allow_local_sources or camera.url in self._given_urls

    def _reach_of(self, camera: Camera) -> EgressPolicy:
        """Everywhere for those that were given at the start: that is the owner's own word."""
        if camera.url in self._given_urls:
            return ALLOW_ALL
        return EgressPolicy(
            "a camera added at run time",
            self._settings.allow_local_sources,
            self._settings.allow_link_local_sources,
            _ALLOW_LOCAL,
            _ALLOW_LINK_LOCAL,
        )

    def _stop_reader(self, name: str) -> None:
        reader = self._readers.pop(name)
        reader.stop()
        self._detector.remove_camera(reader)
        self._stopping.append(reader)
        if name not in self._known:
            _log.info("camera %s: removed", name)
            self._publisher.remove(name)
        elif name not in self._owned:
            _log.info("camera %s: left to another capture", name)
        if name not in self._owned:
            self._metrics.forget_camera(name)
        elif self._known[name].paused:
            self._metrics.forget_paused(name)

    def _statuses(self) -> list[CameraStatus]:
        statuses = [reader.status() for reader in self._readers.values()]
        for status in statuses:
            if status.state != "live":
                self._metrics.active_tracks.labels(status.name).set(0)  # nobody is seen any more
        statuses += self._refused.values()
        for state in STATES:
            count = sum(status.state == state for status in statuses)
            self._metrics.cameras.labels(state).set(count)
        return statuses

    def _publish_statuses(self, statuses: list[CameraStatus]) -> None:
        """Write statuses: all of them each second, changed ones at once."""
        now = time.monotonic()
        if now - self._said_at >= STATUS_EVERY_S:
            self._said_at, due = now, statuses
        else:
            due = [s for s in statuses if _changed(self._published.get(s.name), s)]
        if due:
            self._registry.publish_statuses(due)
        self._published = {status.name: status for status in statuses}

    def _end(self, deadline: float) -> None:
        for reader in self._readers.values():
            reader.stop()
        self._detector.stop(deadline)
        has_published = self._publisher.stop(deadline)
        for reader in [*self._readers.values(), *self._stopping]:
            if not reader.join(deadline - SOCKET_TIMEOUT_S - _LAST_CALLS_S):
                _log.info("camera %s: still blocked in a read, left behind", reader.camera.name)
        # Both lapse by themselves; they are not worth waiting for a broker that hangs.
        if has_published and deadline - time.monotonic() > SOCKET_TIMEOUT_S:
            with suppress(*BROKER_ERRORS):
                if self._leases.are_valid:
                    self._registry.delete_statuses(list(self._readers))
                self._leases.leave()


def _are_read_alike(wanted: Camera | None, read: Camera) -> bool:
    """Where people are counted is no matter of capture's: for that it need not open it anew."""
    places = {"zones": read.zones, "lines": read.lines}
    return wanted is not None and wanted.model_copy(update=places) == read


def _changed(before: CameraStatus | None, now: CameraStatus) -> bool:
    return before is None or (
        (before.state, before.reason, before.width, before.height)
        != (now.state, now.reason, now.width, now.height)
    )
