"""Probe a running stack from outside: results, face accounting, memory, threads.

One thread polls five times per second. It reads the broker over its own connection, which only
faults of the broker itself affect.
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
from tests.soak.statistics import counter_increase

_POLL_S = 0.2
_SAMPLE_S = 1.0
_TIMEOUT_S = 1.0
_SHARD = faces_key(0)


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes of each process at one time. `keys` and `broker_mb` are those of the broker."""

    at_s: float
    pids: dict[str, int]
    rss_mb: dict[str, float]
    threads: dict[str, int]
    descriptors: dict[str, int]
    keys: int | None
    broker_mb: float | None


@dataclass
class Observations:
    """Everything observed so far.

    answered: number of results by camera; last_result_at: `time.monotonic` of the last result;
    age_s: seconds from capture to reading, of each result; unexplained: each nonzero number of
    unaccounted faces.
    """

    answered: Counter[str] = field(default_factory=Counter)
    last_result_at: dict[str, float] = field(default_factory=dict)
    age_s: list[float] = field(default_factory=list)
    unexplained: list[int] = field(default_factory=list)
    not_sent: Counter[str] = field(default_factory=Counter)
    sizes: list[Sizes] = field(default_factory=list)


class Probe:
    """Background observer of a stack; a context manager.

    Args:
        folder: parent of the broker's private folder.
    """

    def __init__(self, stack: Stack, folder: Path, cameras: Sequence[str]) -> None:
        self.observations = Observations()
        self._stack, self._folder = stack, folder
        self._keys = {results_key(camera).encode(): camera for camera in cameras}
        self._positions: dict[bytes, bytes | str] = {}  # empty before the first poll
        self._broker: redis.Redis | None = None
        self._run_id = ""
        self._ledger = FaceAccounting()
        self._at_start = FaceAccounting()
        self._ended = FaceAccounting()  # of brokers whose accounting was not carried over
        self._counters: dict[str, float] = {}
        self._sample_at = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="probe", daemon=True)

    def __enter__(self) -> Probe:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)

    @property
    def accounting(self) -> FaceAccounting:
        """Accounting of all faces so far, over all brokers."""
        return self._ended + self._ledger

    @property
    def accounting_since_start(self) -> FaceAccounting:
        """Accounting of the faces since the first poll; `observations` has the same results."""
        return self.accounting.since(self._at_start)

    def broker(self) -> redis.Redis:
        """Return a connection that bypasses all links."""
        if self._broker is None:
            socket = next(self._folder.glob("facestream-*/broker.sock"))
            self._broker = redis.Redis(unix_socket_path=str(socket), socket_timeout=_TIMEOUT_S)
        return self._broker

    def _run(self) -> None:
        while not self._stop.wait(_POLL_S):
            with contextlib.suppress(redis.RedisError, OSError, StopIteration):
                self._poll()
            if time.monotonic() >= self._sample_at:
                self._sample_at = time.monotonic() + _SAMPLE_S
                with contextlib.suppress(psutil.Error):
                    self._sample()

    def _poll(self) -> None:
        broker = self.broker()
        info: Any = broker.info("server")
        if info["run_id"] != self._run_id:
            if self._run_id:  # a new broker: its streams start at 0
                self._positions = dict.fromkeys(self._keys, "0-0")
            else:
                self._init_positions(broker)
            self._run_id = info["run_id"]
        self._read_results(broker)
        with broker.pipeline(transaction=False) as pipe:
            face_accounting_scripts.read_accounting(pipe, _SHARD)
            ledger = face_accounting_scripts.parse_read_reply(pipe.execute()[0])
        if not ledger.published:
            return  # nothing was published to this broker yet
        if ledger.published < self._ledger.published:
            self._ended += self._ledger.after_broker_loss()
        self._ledger = ledger
        if ledger.unaccounted:
            self.observations.unexplained.append(ledger.unaccounted)

    def _init_positions(self, broker: redis.Redis) -> None:
        """Read stream positions and accounting in one transaction."""
        with broker.pipeline(transaction=True) as pipe:
            for key in self._keys:
                pipe.xrevrange(key, count=1)
            face_accounting_scripts.read_accounting(pipe, _SHARD)
            *newest, ledger = pipe.execute()
        self._positions = {
            key: entries[0][0] if entries else "0-0"
            for key, entries in zip(self._keys, newest, strict=True)
        }
        self._at_start = self._ledger = face_accounting_scripts.parse_read_reply(ledger)

    def _read_results(self, broker: redis.Redis) -> None:
        reply: Any = broker.xread(self._positions)  # type: ignore[arg-type]
        now = time.monotonic()
        for key, entries in reply or []:
            camera = self._keys[key]
            for entry_id, fields in entries:
                self._positions[key] = entry_id
                with contextlib.suppress(MessageError):
                    result = decode_result(fields)
                    self.observations.age_s.append((now_us() - result.captured_us) / 1e6)
                    self.observations.answered[camera] += 1
                    self.observations.last_result_at[camera] = now

    def _sample(self) -> None:
        counted = {k: float(v) for k, v in dropped_before_publish(self._stack.samples()).items()}
        if counted:
            self.observations.not_sent.update(
                {k: int(v) for k, v in counter_increase(counted, self._counters).items()}
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
        self.observations.sizes.append(
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
