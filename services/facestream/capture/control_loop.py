"""The control loop of capture: reconcile running readers with the cameras of this replica.

Several times per second it reads the registry, renews the leases, claims this replica's share of
the cameras, starts and stops readers, checks which cameras have viewers, and publishes statuses.
Readers, detector and publisher run in their own threads. They go on while the broker is
unavailable, as long as no other replica can have taken over their cameras.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

import cv2
import redis

from facestream.capture.faces.detector_thread import DetectorThread
from facestream.capture.metrics import CaptureMetrics
from facestream.capture.ownership.assignment import LeaseTable, assign_cameras
from facestream.capture.ownership.camera_store import CameraStore
from facestream.capture.ownership.leases import Leases
from facestream.capture.ownership.registry_sync import RegistrySync
from facestream.capture.publishing.publisher import PublisherThread
from facestream.capture.settings import CaptureSettings
from facestream.capture.sources.camera_reader import CameraReader
from facestream.capture.sources.ffmpeg_logging import redirect_ffmpeg_logging
from facestream.capture.status_publisher import StatusPublisher
from facestream.common.broker.connection import BROKER_ERRORS, SOCKET_TIMEOUT_S, error_text
from facestream.common.cameras.models import Camera, CameraState, CameraStatus
from facestream.common.cameras.registry import CameraRegistry
from facestream.common.observability.health import Dependency, Health
from facestream.common.security.egress_policy import ALLOW_ALL, EgressPolicy

_log = logging.getLogger(__name__)

TICK_S = 0.25
RECONCILE_INTERVAL_S = 0.7  # every third tick: reading the registry costs more than the viewers
SHUTDOWN_S = 8.0  # of the ten seconds that a service has to end
_LAST_CALLS_S = 0.5  # of these, for the last calls to the broker
_ALLOW_LOCAL = "FACESTREAM_CAPTURE_ALLOW_LOCAL_SOURCES=true"
_ALLOW_LINK_LOCAL = "FACESTREAM_CAPTURE_ALLOW_LINK_LOCAL_SOURCES=true"
_PHASE_STEP = 0.618  # golden ratio: spreads the detections of any number of cameras evenly


class ControlLoop:
    """Control loop of one capture replica; runs in the calling thread.

    Args:
        settings: of capture.
        configured: cameras from the command line and config file.
        broker: connection used by this loop only.
        phone_broker: connection for phone frames, shared by the readers.
        leases: of this replica.
        detector: not started yet.
        publisher: not started yet.
        metrics: of capture.
        health: receives heartbeats.
        broker_dependency: receives the state of the broker.
    """

    def __init__(
        self,
        settings: CaptureSettings,
        configured: Sequence[Camera],
        broker: redis.Redis,
        phone_broker: redis.Redis,
        leases: Leases,
        detector: DetectorThread,
        publisher: PublisherThread,
        metrics: CaptureMetrics,
        health: Health,
        broker_dependency: Dependency,
    ) -> None:
        self._settings, self._metrics, self._health = settings, metrics, health
        self._registry, self._phone_broker = CameraRegistry(broker), phone_broker
        self._leases, self._detector, self._publisher = leases, detector, publisher
        self._broker_dependency = broker_dependency
        self._configured_urls = {camera.url for camera in configured}
        self._store = CameraStore(settings.camera_state_file, configured)
        self._sync = RegistrySync(broker, self._registry, self._store, configured)
        self._status_publisher = StatusPublisher(self._registry, metrics)
        self._known = {camera.name: camera for camera in configured}  # last seen in the registry
        self._owned: set[str] = set()  # assigned to this replica, and leased
        self._unassigned: set[str] = set()  # beyond all capacity, to be reported by this replica
        self._readers: dict[str, CameraReader] = {}
        self._stopping: list[CameraReader] = []
        self._rejected: dict[str, CameraStatus] = {}
        self._reconciled_at = -math.inf
        self._phase = 0.0

    def run(self, stop: threading.Event) -> None:
        """Run until `stop` is set, then shut down within `SHUTDOWN_S`."""
        cv2.setNumThreads(1)
        redirect_ffmpeg_logging()
        self._detector.start()
        self._publisher.start()
        tick_at = time.monotonic()
        try:
            while not stop.is_set():
                tick_at = time.monotonic()
                self._health.heartbeat()
                self._tick()
                stop.wait(max(0.0, tick_at + TICK_S - time.monotonic()))
        finally:
            # Count from the last tick: `stop` may have been set early in it, and a broker that
            # hangs makes a tick long.
            self._shut_down(tick_at + SHUTDOWN_S)

    def _tick(self) -> None:
        try:
            now = time.monotonic()
            if now - self._reconciled_at >= RECONCILE_INTERVAL_S:
                self._known = self._sync.read_cameras(self._known)
                self._rebalance()
                self._reconcile_readers()
                self._reconciled_at = now
                self._store.save(self._known)
            watched = (
                self._registry.watched_cameras(list(self._readers)) if self._readers else set()
            )
            for name, reader in self._readers.items():
                reader.has_viewers = name in watched
            statuses = self._collect_statuses()
            if self._leases.are_valid:
                self._status_publisher.publish(statuses)
            self._broker_dependency.report(None)
        except BROKER_ERRORS as error:
            self._metrics.broker_errors.inc()
            self._broker_dependency.report(error_text(error))
            self._reconciled_at = -math.inf
            self._owned &= self._known.keys()  # do not wait for the broker to stop removed cameras
            self._reconcile_readers()
            self._collect_statuses()  # keep the metrics current

    def _rebalance(self) -> None:
        """Renew the leases, and claim and release cameras as assigned.

        A camera assigned elsewhere is released once its reader has ended.
        """
        replica = self._leases.replica
        # A stopped reader may block in a read; its camera is not free before the reader has ended.
        busy = {reader.camera.name for reader in [*self._readers.values(), *self._stopping]}
        table = self._leases.renew(busy | (self._owned & self._known.keys()))
        local = {name for name, camera in self._known.items() if camera.is_local}
        attached = {
            name
            for name in local
            if self._may_read_local(self._known[name])
            and table.holders.get(name, replica) == replica
        }
        holders = {**table.holders, **dict.fromkeys(attached, replica)}
        assignment = assign_cameras(self._known.keys() - local, LeaseTable(table.replicas, holders))
        assigned = {name for name, owner in assignment.items() if owner == replica} | attached
        if self._leases.in_grace_period:
            assigned &= table.held_by(replica)
        if assigned - table.held_by(replica):
            table = self._leases.renew(busy | assigned)
        self._owned = assigned & table.held_by(replica)
        unassigned = self._known.keys() - assignment.keys() - table.holders.keys()
        is_reporter = replica == min(table.replicas)  # one replica reports unassigned cameras
        self._unassigned = unassigned if is_reporter else set()

    def _reconcile_readers(self) -> None:
        """Start and stop readers so that exactly this replica's cameras are read."""
        self._stopping = [reader for reader in self._stopping if not reader.join(0.0)]
        # The broker may be unavailable for this replica alone: others then take over its cameras.
        others_may_read = not (self._leases.are_valid or self._leases.is_only_replica)
        owned = set() if others_may_read else self._owned
        target = {name: camera for name, camera in self._known.items() if name in owned}
        for name in list(self._readers):
            if not _can_keep_reader(target.get(name), self._readers[name].camera):
                self._stop_reader(name)
        reported = target.keys() | self._unassigned
        self._rejected = {name: s for name, s in self._rejected.items() if name in reported}
        for name, camera in self._known.items():
            if name in reported and name not in self._readers:
                self._start_reader(name, camera)

    def _start_reader(self, name: str, camera: Camera) -> None:
        state, reason = self._rejection_reason(camera)
        if state is not None:
            before = self._rejected.get(name)
            if before is None or (before.state, before.reason) != (state, reason):
                self._rejected[name] = CameraStatus(
                    name=name, state=state, since=time.time(), reason=reason
                )
            return
        self._rejected.pop(name, None)
        self._phase = (self._phase + _PHASE_STEP) % 1.0
        reader = CameraReader(
            camera,
            self._settings,
            self._metrics,
            egress_policy=self._egress_policy(camera),
            phone_broker=self._phone_broker,
            phase=self._phase,
            on_detection_due=self._detector.request_detection,
            on_live_frame=self._publisher.publish_frame,
        )
        self._readers[name] = reader
        _log.info("camera %s: opening %s", name, camera.redacted_url())
        reader.start()

    def _rejection_reason(self, camera: Camera) -> tuple[CameraState | None, str]:
        """Return the state and reason of a camera that must not be read; state None to read it."""
        if camera.paused:
            return "paused", "paused"
        if camera.is_local and not self._may_read_local(camera):
            return (
                "failed",
                f"{camera.scheme}:// cameras added at run time are not allowed; set {_ALLOW_LOCAL}",
            )
        if camera.name in self._unassigned or len(self._readers) >= self._settings.max_cameras:
            capacity = sum(self._leases.table.replicas.values())
            return (
                "failed",
                f"capture is at its limit of {capacity} cameras; start another capture service",
            )
        return None, ""

    def _may_read_local(self, camera: Camera) -> bool:
        return self._settings.allow_local_sources or camera.url in self._configured_urls

    def _egress_policy(self, camera: Camera) -> EgressPolicy:
        """Return the egress policy. Cameras configured at start-up are trusted and unrestricted."""
        if camera.url in self._configured_urls:
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
            self._publisher.remove_camera(name)
        elif name not in self._owned:
            _log.info("camera %s: released to another replica", name)
        if name not in self._owned:
            self._metrics.forget_camera(name)
        elif self._known[name].paused:
            self._metrics.forget_paused(name)

    def _collect_statuses(self) -> list[CameraStatus]:
        """Return the statuses of all cameras of this replica, and update the metrics."""
        statuses = [reader.status() for reader in self._readers.values()]
        for status in statuses:
            if status.state != "live":
                self._metrics.active_tracks.labels(status.name).set(0)
        statuses += self._rejected.values()
        self._status_publisher.update_metrics(statuses)
        return statuses

    def _shut_down(self, deadline: float) -> None:
        for reader in self._readers.values():
            reader.stop()
        self._detector.stop(deadline)
        has_published = self._publisher.stop(deadline)
        for reader in [*self._readers.values(), *self._stopping]:
            if not reader.join(deadline - SOCKET_TIMEOUT_S - _LAST_CALLS_S):
                _log.info(
                    "camera %s: reader did not stop in time; abandoning thread", reader.camera.name
                )
        # Statuses and leases expire on their own, so they do not wait for a broker that hangs.
        if has_published and deadline - time.monotonic() > SOCKET_TIMEOUT_S:
            with suppress(*BROKER_ERRORS):
                if self._leases.are_valid:
                    self._registry.delete_statuses(list(self._readers))
                self._leases.leave()


def _can_keep_reader(target: Camera | None, current: Camera) -> bool:
    """Return whether the running reader fits: zones and lines do not concern capture."""
    if target is None:
        return False
    regions = {"zones": current.zones, "lines": current.lines}
    return target.model_copy(update=regions) == current
