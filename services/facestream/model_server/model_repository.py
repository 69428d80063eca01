"""Model repository: poll a folder of models and serve the newest version of each.

The layout is `models/<name>/<version>/saved_model.pb`. `poll` loads a new version while the current
one keeps serving, then swaps them. The old version is unloaded after its last request. A version
that fails to load is counted and logged once, and retried only when its files change. `lease`
lends a version for the duration of one request.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Generic, TypeVar

from facestream.common.core.errors import ModelError
from facestream.common.vision.model_store import versions_of
from facestream.model_server.metrics import ModelServerMetrics

log = logging.getLogger(__name__)

T = TypeVar("T")

# GetModelStatus reports this many ended versions.
_MAX_ENDED = 8
# Newest modification time and total size of a version's files. A failed version is retried when
# they change, because a copy may arrive file by file.
Fingerprint = tuple[int, int]


class State(IntEnum):
    """Lifecycle state of a version, with TensorFlow Serving's numbers."""

    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclass(slots=True)
class _Version(Generic[T]):
    number: int
    state: State = State.LOADING
    model: T | None = None
    uses: int = 0
    error: str = ""
    fingerprint: Fingerprint = (0, 0)


@dataclass(slots=True)
class _Entry(Generic[T]):
    """One model: the version that is served, and all known versions."""

    current: _Version[T] | None = None
    versions: dict[int, _Version[T]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Status:
    """State of a version in GetModelStatus; `error` is empty without a failure."""

    version: int
    state: State
    error: str


class NotServedError(ModelError):
    """The model or version is not served; the message is TensorFlow Serving's."""


class Repository(Generic[T]):
    """Models by name. Thread-safe, but only one thread may call `poll`.

    Args:
        models_dir: contains a folder per model; folders without numbered versions are ignored.
        load: loads and warms up a model from a version's folder; raises ModelError.
        metrics: the model server's metrics.
    """

    def __init__(
        self, models_dir: Path, load: Callable[[Path], T], metrics: ModelServerMetrics
    ) -> None:
        self._dir, self._load, self._metrics = models_dir, load, metrics
        self._lock = threading.Lock()
        self._entries: dict[str, _Entry[T]] = {}
        self._unreadable: dict[Path, str] = {}

    def poll(self) -> None:
        """Scan the folder once; load, swap and unload what has changed."""
        found = self._scan()
        for name in sorted(found.keys() | self._entries.keys()):
            versions = found.get(name, {})
            # Newest first, until one loads or is already served.
            for number in sorted(versions, reverse=True):
                if self._serve(name, number, versions[number]):
                    break
            else:
                if not versions:
                    self._retire(name, None)

    def served(self) -> list[str]:
        """Return the names of the models that are served."""
        with self._lock:
            return sorted(name for name, entry in self._entries.items() if entry.current)

    @contextmanager
    def lease(self, name: str, version: int | None) -> Iterator[tuple[T, int]]:
        """Yield the model and its version number; keep it loaded until the `with` block ends.

        Raises:
            NotServedError: the model or version is not served.
        """
        with self._lock:
            entry = self._entries.get(name)
            current = entry.current if entry else None
            if current is None or current.model is None or version not in (None, current.number):
                servable = f"Latest({name})" if version is None else f"Specific({name}, {version})"
                raise NotServedError(f"Servable not found for request: {servable}")
            current.uses += 1
            model = current.model
        try:
            yield model, current.number
        finally:
            del model
            with self._lock:
                current.uses -= 1
                if current.state is State.UNLOADING and current.uses == 0:
                    self._end(name, current)

    def statuses(self, name: str, version: int | None) -> list[Status]:
        """Return the known versions of a model, newest first.

        Raises:
            NotServedError: no version is known.
        """
        with self._lock:
            entry = self._entries.get(name)
            known = sorted(entry.versions.values(), key=lambda v: -v.number) if entry else []
            if version is not None:
                known = [v for v in known if v.number == version]
                if not known:
                    raise NotServedError(f"Could not find version {version} of model {name}")
            if not known:
                raise NotServedError(f"Could not find any versions of model {name}")
            return [Status(v.number, v.state, v.error) for v in known]

    def _scan(self) -> dict[str, dict[int, Path]]:
        """Return version folders by model and number; models without a version are left out.

        If a folder cannot be read, its models that are served now stay served.
        """
        found: dict[str, dict[int, Path]] = {}
        unreadable: dict[Path, str] = {}
        try:
            folders = list(self._dir.iterdir())
        except OSError as error:
            unreadable[self._dir] = str(error.strerror)
            folders = []
            found = {name: self._current(self._dir / name) for name in self.served()}
        for folder in folders:
            try:
                versions = versions_of(folder)
            except OSError as error:
                unreadable[folder] = str(error.strerror)
                versions = self._current(folder)
            if versions:
                found[folder.name] = versions
        for folder, reason in unreadable.items():
            if self._unreadable.get(folder) != reason:
                log.warning("cannot read models folder %s: %s", folder, reason)
        self._unreadable = unreadable
        return found

    def _current(self, folder: Path) -> dict[int, Path]:
        """Return the version of this model that is served, or an empty dict."""
        with self._lock:
            entry = self._entries.get(folder.name)
            number = entry.current.number if entry and entry.current else None
        return {} if number is None else {number: folder / str(number)}

    def _serve(self, name: str, number: int, folder: Path) -> bool:
        """Load this version and serve it; return False if it cannot be loaded."""
        fingerprint = _fingerprint(folder)
        self._metrics.load_errors.labels(model=name)  # export 0 for alerts
        with self._lock:
            entry = self._entries.setdefault(name, _Entry())
            if entry.current and entry.current.number == number:
                return True
            known = entry.versions.get(number)
            if known and known.error and known.fingerprint == fingerprint:
                return False
            version = _Version[T](number, fingerprint=fingerprint)
            entry.versions[number] = version
        try:
            version.model = self._load(folder)
        except ModelError as error:
            log.error("loading model %s version %d failed: %s", name, number, error)
            self._on_load_error(name, version, str(error))
            return False
        except Exception as error:
            log.exception("loading model %s version %d failed", name, number)
            self._on_load_error(name, version, f"cannot load: {type(error).__name__}: {error}")
            return False
        self._retire(name, version)
        self._metrics.model_version.labels(model=name).set(number)
        log.info("serving model %s version %d", name, number)
        return True

    def _on_load_error(self, name: str, version: _Version[T], error: str) -> None:
        with self._lock:
            version.state, version.error = State.END, error
            self._delete_ended(self._entries[name])
        self._metrics.load_errors.labels(model=name).inc()

    def _retire(self, name: str, successor: _Version[T] | None) -> None:
        """Replace the served version by a successor, or stop serving the model."""
        with self._lock:
            entry = self._entries[name]
            old, entry.current = entry.current, successor
            if successor:
                successor.state = State.AVAILABLE
            if old:
                old.state = State.UNLOADING
                if old.uses == 0:
                    self._end(name, old)
        if old and not successor:
            self._metrics.model_version.remove(name)
            log.warning("model %s version %d was removed from the folder", name, old.number)

    def _end(self, name: str, version: _Version[T]) -> None:
        version.model, version.state = None, State.END
        self._delete_ended(self._entries[name])
        log.info("model %s version %d unloaded", name, version.number)

    @staticmethod
    def _delete_ended(entry: _Entry[T]) -> None:
        ended = [v for v in entry.versions.values() if v.state is State.END]
        # Failed versions last: without its entry, a failed version is retried at each poll.
        ended.sort(key=lambda v: (bool(v.error), v.number))
        for version in ended[: max(0, len(ended) - _MAX_ENDED)]:
            del entry.versions[version.number]


def _fingerprint(folder: Path) -> Fingerprint:
    try:
        stats = [file.stat() for file in folder.rglob("*")]
    except OSError:
        return (0, 0)
    return (max((file.st_mtime_ns for file in stats), default=0), sum(f.st_size for f in stats))
