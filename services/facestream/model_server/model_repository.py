"""Which versions of which models are served: `models/<name>/<version>/saved_model.pb`, polled.

`poll` looks into the folder, loads the newest version of each model beside the one that answers,
and then swaps; the old one goes when the last request that uses it has ended. A version that does
not load is counted and named once, and tried again only when its files change. `lease` hands out
a version for the time of one request.
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

# Ended versions are remembered for GetModelStatus; older ones than these are forgotten.
_MAX_ENDED = 8
# Newest time and total size of a version's files, as a copy may come file by file: a version that
# failed is tried again when they change.
Stamp = tuple[int, int]


class State(IntEnum):
    """Life of a version, with TensorFlow Serving's numbers."""

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
    stamp: Stamp = (0, 0)


@dataclass(slots=True)
class _Entry(Generic[T]):
    """One model: the version that answers and all that is known of others."""

    current: _Version[T] | None = None
    versions: dict[int, _Version[T]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Status:
    """What GetModelStatus says of a version; `error` is empty where nothing went wrong."""

    version: int
    state: State
    error: str


class NotServedError(ModelError):
    """No such model, or not in that version; the message is TensorFlow Serving's."""


class Repository(Generic[T]):
    """Models by name; thread-safe, but `poll` is for one thread.

    Args:
        models_dir: holds a folder per model; a folder without numbered versions is ignored.
        load: makes a model, warmed up, of a version's folder; raises ModelError.
    """

    def __init__(
        self, models_dir: Path, load: Callable[[Path], T], metrics: ModelServerMetrics
    ) -> None:
        self._dir, self._load, self._metrics = models_dir, load, metrics
        self._lock = threading.Lock()
        self._entries: dict[str, _Entry[T]] = {}
        self._unreadable: dict[Path, str] = {}

    def poll(self) -> None:
        """Look into the folder once; load, swap and unload what has changed."""
        found = self._scan()
        for name in sorted(found.keys() | self._entries.keys()):
            versions = found.get(name, {})
            # Newest first, down to one that loads or that already answers.
            for number in sorted(versions, reverse=True):
                if self._serve(name, number, versions[number]):
                    break
            else:
                if not versions:
                    self._retire(name, None)

    def served(self) -> list[str]:
        """Names of the models that answer now."""
        with self._lock:
            return sorted(name for name, entry in self._entries.items() if entry.current)

    @contextmanager
    def lease(self, name: str, version: int | None) -> Iterator[tuple[T, int]]:
        """The model and its version number, kept until the end of the `with` block.

        Raises:
            NotServedError: not served, or not in this version.
        """
        with self._lock:
            entry = self._entries.get(name)
            held = entry.current if entry else None
            if held is None or held.model is None or version not in (None, held.number):
                wanted = f"Latest({name})" if version is None else f"Specific({name}, {version})"
                raise NotServedError(f"Servable not found for request: {wanted}")
            held.uses += 1
            model = held.model
        try:
            yield model, held.number
        finally:
            del model
            with self._lock:
                held.uses -= 1
                if held.state is State.UNLOADING and held.uses == 0:
                    self._end(name, held)

    def statuses(self, name: str, version: int | None) -> list[Status]:
        """What is known of a model's versions, newest first.

        Raises:
            NotServedError: nothing at all.
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
        """Version folders by model and number; models without a version are left out.

        A folder that cannot be read says nothing of its models: those that answer are kept.
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
        for folder, why in unreadable.items():
            if self._unreadable.get(folder) != why:
                log.warning("models folder %s: %s", folder, why)
        self._unreadable = unreadable
        return found

    def _current(self, folder: Path) -> dict[int, Path]:
        """The version of this model that answers now, or nothing."""
        with self._lock:
            entry = self._entries.get(folder.name)
            number = entry.current.number if entry and entry.current else None
        return {} if number is None else {number: folder / str(number)}

    def _serve(self, name: str, number: int, folder: Path) -> bool:
        """Have this version answer; False where it cannot."""
        stamp = _stamp(folder)
        self._metrics.load_errors.labels(model=name)  # at 0 before the first: alerts see it rise
        with self._lock:
            entry = self._entries.setdefault(name, _Entry())
            if entry.current and entry.current.number == number:
                return True
            known = entry.versions.get(number)
            if known and known.error and known.stamp == stamp:
                return False
            version = _Version[T](number, stamp=stamp)
            entry.versions[number] = version
        try:
            version.model = self._load(folder)
        except ModelError as error:
            log.error("model %s version %d: %s", name, number, error)
            self._failed(name, version, str(error))
            return False
        except Exception as error:
            log.exception("model %s version %d: does not load", name, number)
            self._failed(name, version, f"does not load: {type(error).__name__}: {error}")
            return False
        self._retire(name, version)
        self._metrics.model_version.labels(model=name).set(number)
        log.info("model %s version %d answers", name, number)
        return True

    def _failed(self, name: str, version: _Version[T], why: str) -> None:
        with self._lock:
            version.state, version.error = State.END, why
            self._forget_ended(self._entries[name])
        self._metrics.load_errors.labels(model=name).inc()

    def _retire(self, name: str, successor: _Version[T] | None) -> None:
        """Put a successor, or nothing, in the place of the version that answers."""
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
            log.warning("model %s version %d has gone from the folder", name, old.number)

    def _end(self, name: str, version: _Version[T]) -> None:
        version.model, version.state = None, State.END
        self._forget_ended(self._entries[name])
        log.info("model %s version %d unloaded", name, version.number)

    @staticmethod
    def _forget_ended(entry: _Entry[T]) -> None:
        ended = [v for v in entry.versions.values() if v.state is State.END]
        # Those that failed last: forgetting one would have it tried again at each poll.
        ended.sort(key=lambda v: (bool(v.error), v.number))
        for version in ended[: max(0, len(ended) - _MAX_ENDED)]:
            del entry.versions[version.number]


def _stamp(folder: Path) -> Stamp:
    try:
        found = [file.stat() for file in folder.rglob("*")]
    except OSError:
        return (0, 0)
    return (max((file.st_mtime_ns for file in found), default=0), sum(f.st_size for f in found))
