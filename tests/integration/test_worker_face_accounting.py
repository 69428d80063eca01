"""Face accounting of the worker with a real broker: every face is counted once."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from facestream.common.broker.keys import (
    FACES_CAP,
    RESULTS_CAP,
    WORKER_GROUP,
    faces_key,
    results_key,
    shard_of,
)
from facestream.common.broker.messages import Result
from facestream.worker.drop_counter import DropCounter
from facestream.worker.face_consumer import FaceConsumer, PendingFace
from facestream.worker.metrics import WorkerMetrics
from facestream.worker.result_committer import DroppedFace, FaceResult, ResultCommitter
from facestream.worker.settings import WorkerSettings
from prometheus_client import CollectorRegistry

from tests.fixtures.brokers import lose_a_reply
from tests.fixtures.polling import wait_for
from tests.fixtures.serving import put_version, running_model_server
from tests.fixtures.worker import (
    answered,
    counted,
    crop,
    dead_letters,
    dropped,
    face,
    publish,
    results,
    running_worker,
    settings,
)

ME = "me"
DEFAULTS = WorkerSettings.load(flags={}, environ={})


class Harness:
    """A consumer, a committer and their metrics."""

    def __init__(self, broker: redis.Redis, shards: int = 1) -> None:
        self.broker = broker
        self.consumer = FaceConsumer(
            broker, shards=shards, consumer=ME, count=16, claim_min_idle_s=1
        )
        self.consumer.ensure_groups()
        self._registry = CollectorRegistry()
        metrics = WorkerMetrics(self._registry)
        self.committer = ResultCommitter(broker, ME, metrics, DropCounter(metrics))

    def receive(self, *cameras: str) -> list[PendingFace]:
        """Publish and read one face of each of these cameras."""
        for track, camera in enumerate(cameras):
            publish(self.broker, face(track, camera=camera), crop(), len(self.consumer.streams))
        faces = self.consumer.read(100)
        assert len(faces) == len(cameras)
        return faces

    def counted(self) -> dict[str, float]:
        """Return processed and dropped faces by reason, without zeros."""
        totals = {"processed": self._sample("processed", {"model": "m"})}
        for reason in ("stale", "dead_lettered", "broker_error"):
            totals[reason] = self._sample("dropped", {"reason": reason})
        return {outcome: number for outcome, number in totals.items() if number}

    def _sample(self, outcome: str, labels: dict[str, str]) -> float:
        name = f"facestream_worker_faces_{outcome}_total"
        return self._registry.get_sample_value(name, labels) or 0.0


def result_of(face: PendingFace, camera: str = "door", track: int = 0) -> FaceResult:
    result = Result(camera=camera, session=5, track=track, captured_us=7, inferred_us=9)
    result.age, result.age_std, result.female, result.model = 30, 5, 0.5, "m"
    return FaceResult(face, result)


@pytest.fixture
def broker(broker_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(broker_url) as broker:
        yield broker


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Return the port of a server that accepts connections and never replies."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.mark.parametrize("after_execution", [True, False])
def test_a_commit_with_a_lost_reply_is_counted_once(
    broker: redis.Redis, monkeypatch: pytest.MonkeyPatch, after_execution: bool
) -> None:
    harness = Harness(broker)
    first, second, third = harness.receive("door", "door", "door")
    faces = [result_of(first, track=0), result_of(second, track=1)]
    drops = [DroppedFace(third, "stale", "too late")]
    lose_a_reply(monkeypatch, after_execution=after_execution)
    with pytest.raises(redis.ConnectionError):
        harness.committer.commit(faces, drops)
    left = harness.committer.find_uncommitted(faces, drops)
    assert left == (([], []) if after_execution else (faces, drops))
    harness.committer.commit(*left)
    assert harness.counted() == {"processed": 2, "stale": 1}
    assert broker.xlen(results_key("door")) == 2  # and none was given twice
    assert broker.xlen(faces_key(0)) == 0


def test_a_result_lost_with_the_memory_of_redis_is_a_broker_error(
    broker: redis.Redis,
) -> None:
    harness = Harness(broker)
    (received,) = harness.receive("door")
    broker.flushall()
    assert harness.committer.find_uncommitted([result_of(received)], []) == ([], [])
    assert harness.counted() == {"broker_error": 1}


def test_a_face_claimed_by_another_worker_is_left_to_it(broker: redis.Redis) -> None:
    harness = Harness(broker)
    (received,) = harness.receive("door")
    broker.xclaim(faces_key(0), WORKER_GROUP, "other", 0, [received.id])
    assert harness.committer.find_uncommitted([result_of(received)], []) == ([], [])
    harness.consumer.extend_claims({(received.stream, received.id)})
    (entry,) = broker.xpending_range(faces_key(0), WORKER_GROUP, "-", "+", 9)
    assert entry["consumer"] == b"other"
    assert harness.counted() == {}


def test_a_refused_result_is_counted_in_its_own_shard(broker: redis.Redis) -> None:
    cameras = ["door", next(c for c in "abcd" if shard_of(c, 2) != shard_of("door", 2))]
    harness = Harness(broker, shards=2)
    by_stream = {received.stream: received for received in harness.receive(*cameras)}
    broker.set(results_key("door"), "not a stream")
    harness.committer.commit(
        [result_of(by_stream[faces_key(shard_of(c, 2))], c) for c in cameras], []
    )
    assert harness.counted() == {"processed": 1, "broker_error": 1}
    assert broker.xlen(results_key(cameras[1])) == 1


def test_faces_are_dropped_while_redis_is_out_of_memory(broker: redis.Redis) -> None:
    harness = Harness(broker)
    first, second, third = harness.receive("door", "door", "door")
    broker.config_set("maxmemory", 1)
    try:
        harness.committer.commit(
            [result_of(first)],
            [DroppedFace(second, "dead_lettered", "?"), DroppedFace(third, "stale", "late")],
        )
    finally:
        broker.config_set("maxmemory", 0)
    assert harness.counted() == {"broker_error": 2, "stale": 1}
    assert broker.xlen(faces_key(0)) == 0
    assert broker.xpending(faces_key(0), WORKER_GROUP)["pending"] == 0


def test_deliveries_are_known_for_any_entry_id(broker: redis.Redis) -> None:
    """As text, 7-10 comes before 7-9."""
    harness = Harness(broker)
    stream = faces_key(0)
    entries: list[Any] = [broker.xadd(stream, {"m": "x"}, id=f"7-{n}") for n in (9, 10)]
    broker.xreadgroup(WORKER_GROUP, "dead", {stream: ">"})
    for _ in range(4):
        broker.xclaim(stream, WORKER_GROUP, "dead", 0, entries, idle=2000)
    assert [received.deliveries for received in harness.consumer.claim(frozenset())] == [6, 6]


def test_a_face_in_flight_is_not_reclaimed_from_a_live_worker(
    broker: redis.Redis, broker_url: str, silent_port: int
) -> None:
    changes = {"claim_min_idle_s": 0.3, "rpc_timeout_s": 1.5, "max_face_age_s": 1.5}
    slow, other = (settings(broker_url, silent_port, **changes) for _ in range(2))
    with running_worker(slow) as first:
        publish(broker, face(1), crop())
        wait_for(lambda: counted(first, "faces_received_total") == 1)
        with running_worker(other) as second:
            wait_for(lambda: dropped(first, "stale") == 1)  # it has waited for an answer
            assert counted(second, "faces_reclaimed_total") == 0
    assert broker.xlen(faces_key(0)) == 0


def test_a_face_that_kills_workers_is_a_dead_letter_at_default_settings(
    broker: redis.Redis, broker_url: str, silent_port: int
) -> None:
    stream = faces_key(0)
    idle_ms = int(DEFAULTS.claim_min_idle_s * 1000)
    broker.xgroup_create(stream, WORKER_GROUP, "0", mkstream=True)
    # Taken twice, and held each time for as long as it takes to be given to the next.
    entry = publish(broker, face(1, age_s=2 * DEFAULTS.claim_min_idle_s + 0.1), crop())
    broker.xreadgroup(WORKER_GROUP, "dead", {stream: ">"})
    broker.xclaim(stream, WORKER_GROUP, "dead too", 0, [entry], idle=idle_ms)
    default = {
        "max_face_age_s": DEFAULTS.max_face_age_s,
        "claim_min_idle_s": DEFAULTS.claim_min_idle_s,
    }
    with running_worker(settings(broker_url, silent_port, **default)) as worker:
        wait_for(lambda: dropped(worker, "dead_lettered") == 1)
        assert dropped(worker, "stale") == 0
    (letter,) = dead_letters(broker)
    assert (letter.face.track, letter.deliveries) == (1, 3)
    assert "2 times" in letter.reason


def test_two_workers_under_load_process_each_face_once(
    broker: redis.Redis, broker_url: str, tmp_path: Path
) -> None:
    put_version(tmp_path, "age_gender", 1)
    number = RESULTS_CAP // 2
    assert number <= FACES_CAP
    with running_model_server(tmp_path) as server:
        wait_for(server.repository.served)
        one, two = (settings(broker_url, server.port, claim_min_idle_s=0.3) for _ in range(2))
        with running_worker(one) as first, running_worker(two) as second:
            for track in range(number):
                publish(broker, face(track), crop())
            wait_for(lambda: answered(first) + answered(second) == number)
        assert broker.xlen(results_key("door")) == number
        assert len(results(broker)) == number
