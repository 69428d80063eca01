"""Model repository: poll a folder of models and serve the newest version of each.

The layout is `models/<name>/<version>/saved_model.pb`. `poll` loads a new version while the current
one keeps serving, then swaps them. The old version is unloaded after its last request. A version
that fails to load is counted and logged once, and retried only when its files change. `lease`
lends a version for the duration of one request.

With a configuration (`model_config.py`), `poll` serves the versions that it lists, side by side.
As in TensorFlow Serving, labels are changed before versions are loaded: a label that exists can
only move to a version that is available, otherwise the whole configuration is refused.

Longer than 300 lines: polling, labels and leases change one table of versions under one lock.
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
from facestream.model_server.model_config import ModelConfig, parse_models_config

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
    """One model: the version of requests without a version, all known versions, labels."""

    current: _Version[T] | None = None
    versions: dict[int, _Version[T]] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)

    def available(self, number: int) -> _Version[T] | None:
        version = self.versions.get(number)
        return version if version and version.state is State.AVAILABLE else None


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
        config_file: `models.config` of TensorFlow Serving; None serves the newest version of each
            model.
    """

    def __init__(
        self,
        models_dir: Path,
        load: Callable[[Path], T],
        metrics: ModelServerMetrics,
        config_file: Path | None = None,
    ) -> None:
        self._dir, self._load, self._metrics = models_dir, load, metrics
        self._config_file, self._config_error = config_file, ""
        self._config: dict[str, ModelConfig] = {}
        self._lock = threading.Lock()
        self._entries: dict[str, _Entry[T]] = {}
        self._unreadable: dict[Path, str] = {}

    def poll(self) -> None:
        """Scan the folder once; load, swap and unload what has changed."""
        found = self._scan()
        if self._config_file is not None:
            self._reload_config(self._config_file)
            for name in sorted(self._config.keys() | self._entries.keys()):
                self._serve_versions(name, self._config.get(name), found.get(name, {}))
            return
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
            if entry and version is not None:
                current = entry.available(version)
            if current is None or current.model is None:
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

    def labeled_version(self, name: str, label: str) -> int | None:
        """Return the version of a label; None if the model has no such label."""
        with self._lock:
            entry = self._entries.get(name)
            return entry.labels.get(label) if entry else None

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

    def _reload_config(self, file: Path) -> None:
        """Read the configuration and move labels; keep the old one on an error, logged once."""
        try:
            config = parse_models_config(file.read_text(encoding="utf-8"))
            self._move_labels(config)
        except (OSError, UnicodeDecodeError, ModelError) as error:
            if str(error) != self._config_error:
                log.error("refused %s: %s; the old configuration stays", file, error)
            self._config_error = str(error)
            return
        self._config, self._config_error = config, ""

    def _move_labels(self, config: dict[str, ModelConfig]) -> None:
        """Set the labels of all models, or of none.

        Raises:
            ModelError: an existing label would move to a version that is not available.
        """
        with self._lock:
            for name, wanted in config.items():
                entry = self._entries.get(name)
                for label, number in wanted.labels.items():
                    is_move = entry and entry.labels.get(label, number) != number
                    if entry and is_move and entry.available(number) is None:
                        raise ModelError(
                            f"label {label!r} of model {name} cannot move to version {number}, "
                            "which is not available; load the version first"
                        )
            for name, wanted in config.items():
                self._entries.setdefault(name, _Entry()).labels = dict(wanted.labels)

    def _serve_versions(
        self, name: str, config: ModelConfig | None, folders: dict[int, Path]
    ) -> None:
        """Load the versions of the configuration, then unload others.

        The last available version stays until another one is available or the model is removed.
        A listed version stays loaded even if its folder is removed.
        """
        wanted = set(config.versions) if config else set()
        if config and not config.versions and folders:
            wanted = {max(folders)}
        for number in sorted(wanted & set(folders)):
            self._load_version(name, number, folders[number])
        with self._lock:
            entry = self._entries.get(name)
            if entry is None:
                return
            loaded = [v for v in entry.versions.values() if v.state is State.AVAILABLE]
            kept = [v for v in loaded if v.number in wanted]
            if not kept and config:
                return
            old, entry.current = entry.current, max(kept, key=lambda v: v.number, default=None)
            for version in loaded:
                if version not in kept:
                    self._unload(name, version)
            current = entry.current
        if current is not None:
            self._metrics.model_version.labels(model=name).set(current.number)
        elif old is not None:
            self._metrics.model_version.remove(name)

    def _serve(self, name: str, number: int, folder: Path) -> bool:
        """Load this version and serve it; return False if it cannot be loaded."""
        with self._lock:
            entry = self._entries.get(name)
            if entry and entry.current and entry.current.number == number:
                return True
        version = self._load_version(name, number, folder)
        if version is None:
            return False
        self._retire(name, version)
        self._metrics.model_version.labels(model=name).set(number)
        log.info("serving model %s version %d", name, number)
        return True

    def _load_version(self, name: str, number: int, folder: Path) -> _Version[T] | None:
        """Return the available version, loaded if necessary; None if it cannot be loaded."""
        fingerprint = _fingerprint(folder)
        self._metrics.load_errors.labels(model=name)  # export 0 for alerts
        with self._lock:
            entry = self._entries.setdefault(name, _Entry())
            known = entry.versions.get(number)
            if known and known.state is State.AVAILABLE:
                return known
            if known and known.error and known.fingerprint == fingerprint:
                return None
            version = _Version[T](number, fingerprint=fingerprint)
            entry.versions[number] = version
        try:
            version.model = self._load(folder)
        except ModelError as error:
            log.error("loading model %s version %d failed: %s", name, number, error)
            self._on_load_error(name, version, str(error))
            return None
        except Exception as error:
            log.exception("loading model %s version %d failed", name, number)
            self._on_load_error(name, version, f"cannot load: {type(error).__name__}: {error}")
            return None
        with self._lock:
            version.state = State.AVAILABLE
        return version

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
            if old:
                self._unload(name, old)
        if old and not successor:
            self._metrics.model_version.remove(name)
            log.warning("model %s version %d was removed from the folder", name, old.number)

    def _unload(self, name: str, version: _Version[T]) -> None:
        """Stop serving a version; the lock is held."""
        version.state = State.UNLOADING
        if version.uses == 0:
            self._end(name, version)

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
