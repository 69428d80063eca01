"""Watches a running stack from outside, through faults: results, ledger, memory, threads.

One thread looks a few times a second and keeps what it saw. It reads the broker over a connection
of its own, which no fault touches but those of the broker itself.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import redis
from facestream.common.broker import face_accounting_scripts
from facestream.common.broker.face_accounting import FaceAccounting, dropped_before_publish
from facestream.common.broker.keys import faces_key, results_key
from facestream.common.broker.messages import decode_result, now_us
from facestream.common.core.errors import MessageError

from tests.fixtures.stack import Stack
from tests.soak.statistics import added

_LOOK_S = 0.2
_SAMPLE_S = 1.0
_TIMEOUT_S = 1.0
_SHARD = faces_key(0)


@dataclass(frozen=True, slots=True)
class Sizes:
    """Of each process at one moment. `keys` and `broker_mb` are what the broker holds."""

    at_s: float
    pids: dict[str, int]
    rss_mb: dict[str, float]
    threads: dict[str, int]
    descriptors: dict[str, int]
    keys: int | None
    broker_mb: float | None


@dataclass
class Seen:
    """What was seen so far.

    answered: results read, by camera; answered_at: when the last one came, `time.monotonic`;
    age_s: from capture to here, of each result; unexplained: the ledger's, whenever it was not 0.
    """

    answered: Counter[str] = field(default_factory=Counter)
    answered_at: dict[str, float] = field(default_factory=dict)
    age_s: list[float] = field(default_factory=list)
    unexplained: list[int] = field(default_factory=list)
    not_sent: Counter[str] = field(default_factory=Counter)
    sizes: list[Sizes] = field(default_factory=list)


class Watch:
    """A context manager.

    Args:
        folder: in which the stack's broker has its private folder.
    """

    def __init__(self, stack: Stack, folder: Path, cameras: Sequence[str]) -> None:
        self.seen = Seen()
        self._stack, self._folder = stack, folder
        self._keys = {results_key(camera).encode(): camera for camera in cameras}
        self._places: dict[bytes, bytes | str] = {}  # none before the first look
        self._broker: redis.Redis | None = None
        self._run_id = ""
        self._ledger = FaceAccounting()
        self._at_first = FaceAccounting()
        self._ended = FaceAccounting()  # of brokers whose ledger nobody carried over
        self._counters: dict[str, float] = {}
        self._sample_at = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)

    @property
    def ledger(self) -> FaceAccounting:
        """Of all faces so far, whatever became of the brokers."""
        return self._ended + self._ledger

    @property
    def ledger_meanwhile(self) -> FaceAccounting:
        """Of the faces since the first look; the same results are in `seen`."""
        return self.ledger.since(self._at_first)

    def broker(self) -> redis.Redis:
        """A connection that no link leads through."""
        if self._broker is None:
            socket = next(self._folder.glob("facestream-*/broker.sock"))
            self._broker = redis.Redis(unix_socket_path=str(socket), socket_timeout=_TIMEOUT_S)
        return self._broker

    def _run(self) -> None:
        while not self._stop.wait(_LOOK_S):
            with contextlib.suppress(redis.RedisError, OSError, StopIteration):
                self._look()
            if time.monotonic() >= self._sample_at:
                self._sample_at = time.monotonic() + _SAMPLE_S
                with contextlib.suppress(psutil.Error):
                    self._sample()

    def _look(self) -> None:
        broker = self.broker()
        info: Any = broker.info("server")
        if info["run_id"] != self._run_id:
            if self._run_id:  # another broker: its streams begin anew
                self._places = dict.fromkeys(self._keys, "0-0")
            else:
                self._begin(broker)
            self._run_id = info["run_id"]
        self._read_results(broker)
        with broker.pipeline(transaction=False) as pipe:
            face_accounting_scripts.read_accounting(pipe, _SHARD)
            ledger = face_accounting_scripts.parse_read_reply(pipe.execute()[0])
        if not ledger.published:
            return  # a broker that has not been written to
        if ledger.published < self._ledger.published:
            self._ended += self._ledger.after_broker_loss()
        self._ledger = ledger
        if ledger.unaccounted:
            self.seen.unexplained.append(ledger.unaccounted)

    def _begin(self, broker: redis.Redis) -> None:
        """Where the results end and how the ledger stands, at one moment."""
        with broker.pipeline(transaction=True) as pipe:
            for key in self._keys:
                pipe.xrevrange(key, count=1)
            face_accounting_scripts.read_accounting(pipe, _SHARD)
            *newest, ledger = pipe.execute()
        self._places = {
            key: entries[0][0] if entries else "0-0"
            for key, entries in zip(self._keys, newest, strict=True)
        }
        self._at_first = self._ledger = face_accounting_scripts.parse_read_reply(ledger)

    def _read_results(self, broker: redis.Redis) -> None:
        answer: Any = broker.xread(self._places)  # type: ignore[arg-type]
        now = time.monotonic()
        for key, entries in answer or []:
            camera = self._keys[key]
            for entry_id, fields in entries:
                self._places[key] = entry_id
                with contextlib.suppress(MessageError):
                    result = decode_result(fields)
                    self.seen.age_s.append((now_us() - result.captured_us) / 1e6)
                    self.seen.answered[camera] += 1
                    self.seen.answered_at[camera] = now

    def _sample(self) -> None:
        counted = {k: float(v) for k, v in dropped_before_publish(self._stack.samples()).items()}
        if counted:
            self.seen.not_sent.update(
                {k: int(v) for k, v in added(counted, self._counters).items()}
            )
            self._counters = counted
        keys = broker_mb = None
        with contextlib.suppress(redis.RedisError, OSError, StopIteration):
            broker = self.broker()
            memory: Any = broker.info("memory")
            size: Any = broker.dbsize()
            keys, broker_mb = int(size), memory["used_memory"] / 1e6
        pids = self._stack.parts()
        found = {}
        for name, pid in pids.items():
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(pid)
                found[name] = (
                    process.memory_info().rss / 1e6,
                    process.num_threads(),
                    process.num_fds(),
                )
        self.seen.sizes.append(
            Sizes(
                time.monotonic(),
                pids,
                {name: round(of[0], 1) for name, of in found.items()},
                {name: of[1] for name, of in found.items()},
                {name: of[2] for name, of in found.items()},
                keys,
                broker_mb,
            )
        )
