"""Read the camera registry, and restore it when the broker has lost it.

The registry's epoch is a random id that capture sets after the cameras are in place. A missing or
changed epoch means that the broker was restarted empty. The cameras known here, or at the first
start the persisted and configured ones, are then written again, and the epoch last.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping, Sequence

import redis

from facestream.capture.ownership.camera_store import CameraStore
from facestream.common.broker import keys
from facestream.common.cameras.models import Camera
from facestream.common.cameras.registry import CameraRegistry, RegistrySnapshot

_log = logging.getLogger(__name__)


class RegistrySync:
    """Cameras of the registry, restored if necessary. Not thread-safe.

    Args:
        broker: connection of the registry.
        registry: of cameras.
        store: cameras persisted by an earlier run.
        configured: cameras from the command line and config file of this start.
    """

    def __init__(
        self,
        broker: redis.Redis,
        registry: CameraRegistry,
        store: CameraStore,
        configured: Sequence[Camera],
    ) -> None:
        self._broker, self._registry, self._store = broker, registry, store
        self._configured = list(configured)
        self._epoch: bytes | None = None

    def read_cameras(self, known: Mapping[str, Camera]) -> dict[str, Camera]:
        """Return the registry's cameras by name, after restoring them if the broker lost them.

        Args:
            known: cameras of the last call, to be restored.

        Raises:
            BROKER_ERRORS: the broker is unavailable; the call can be repeated.
        """
        # The epoch is read after the cameras: if it is unchanged, the cameras were not lost before.
        snapshot = self._registry.snapshot()
        if snapshot.epoch_after is None or snapshot.epoch_after != self._epoch:
            self._restore(snapshot, known)
            snapshot = self._registry.snapshot()
            self._epoch = snapshot.epoch_after
        return snapshot.cameras

    def _restore(self, snapshot: RegistrySnapshot, known: Mapping[str, Camera]) -> None:
        is_first = self._epoch is None
        if is_first and snapshot.epoch_after is not None:
            self._registry.apply_configured(self._configured)
        else:
            cameras = self._store.initial_cameras() if is_first else known
            for name, camera in cameras.items():
                if name not in snapshot.cameras:  # else another replica has restored it
                    self._registry.upsert(camera)
            if is_first:
                configured_names = {camera.name for camera in self._configured}
                for name in sorted(cameras.keys() - configured_names):
                    _log.info("camera %s: restored from the camera state file", name)
            self._registry.record_configured(self._configured)
        # Set the epoch last: readers treat a missing epoch as "registry not restored yet".
        self._broker.set(keys.EPOCH_KEY, secrets.token_hex(8), nx=True)
        if not is_first:
            _log.info("broker was restarted: %d cameras restored", len(known))
