"""A real Redis Cluster of three nodes, and a real Sentinel failover."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from facestream.common.broker import keys
from facestream.common.broker.connection import BROKER_ERRORS, connect, connect_async
from facestream.common.cameras.models import Camera
from facestream.common.cameras.registry import CameraRegistry
from pydantic import SecretStr

from tests.fixtures.brokers import Server, cluster, sentinel_master
from tests.fixtures.polling import wait_for
from tests.fixtures.stack import running_stack

SHARDS = 4
_RESULTS = "facestream_annotator_results_total"


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    password = "requirepass s3cret,with:signs"
    with cluster(tmp_path_factory.mktemp("cluster"), password) as nodes:
        yield nodes


@pytest.fixture(scope="module")
def cluster_url(nodes: list[Server]) -> str:
    """Return a URL whose first node is down."""
    return f"redis+cluster://:s3cret%2Cwith%3Asigns@127.0.0.1:9,127.0.0.1:{nodes[1].port}"


def test_the_whole_pipeline_runs_on_a_cluster(
    nodes: list[Server], cluster_url: str, pytestconfig: pytest.Config
) -> None:
    cache = Path(pytestconfig.cache.mkdir("demo")) if pytestconfig.cache else Path("/tmp")
    environment = {
        "FACESTREAM_BROKER": cluster_url,
        "FACESTREAM_UP_BROKER": cluster_url,
        "FACESTREAM_CAPTURE_FACE_SHARDS": str(SHARDS),
        "FACESTREAM_WORKER_FACE_SHARDS": str(SHARDS),
        "FACESTREAM_LOG_LEVEL": "info",
    }
    with running_stack("--demo", cache=cache, environment=environment) as stack:
        wait_for(lambda: stack.metric(_RESULTS) >= 5, f"results:\n{stack.output}")
        (camera,) = stack.get("/api/cameras")
        assert camera["state"] == "live"
        with connect(SecretStr(cluster_url)) as client:
            shard = keys.faces_key(keys.shard_of("demo", SHARDS))
            added = client.xinfo_stream(shard)["entries-added"]
            wait_for(lambda: client.xlen(shard) <= 2, "faces are removed from their stream")
            assert added >= 5
        assert stack.end() == 0
    assert not [line for line in stack.lines if "CROSSSLOT" in line or "Traceback" in line]
    sizes = [node.client.execute_command("DBSIZE") for node in nodes]
    assert sum(1 for number in sizes if number) >= 2, "the keys are spread over the nodes"


def test_all_keys_of_a_camera_can_be_removed_in_a_cluster(cluster_url: str) -> None:
    with connect(SecretStr(cluster_url)) as client:
        registry = CameraRegistry(client)
        registry.upsert(Camera.parse("yard=rtsp://host/live"))
        registry.mark_watched("yard")
        client.xadd(keys.frames_key("yard"), {"m": "1"})
        assert registry.remove("yard")
        assert not client.exists(keys.frames_key("yard"))
        assert registry.watched_cameras(["yard", "door"]) == set()


def test_an_unavailable_cluster_raises_a_broker_error() -> None:
    client = connect(SecretStr("redis+cluster://127.0.0.1:9"))  # does not connect yet
    with pytest.raises(BROKER_ERRORS):
        client.ping()
    client.close()


def test_both_clients_follow_a_sentinel_to_the_new_master(tmp_path: Path) -> None:
    with sentinel_master(tmp_path) as (master, replica, sentinel):
        url = SecretStr(f"redis+sentinel://127.0.0.1:9,127.0.0.1:{sentinel.port}/main/0")
        with connect(url) as client:
            client.set("facestream:test", "before")
            replica.until(lambda: replica.client.get("facestream:test"), "the replica has the key")
            master.process.kill()
            end = time.monotonic() + 15
            while True:
                try:
                    client.set("facestream:test", "after")
                    break
                except BROKER_ERRORS:
                    assert time.monotonic() < end, "no new master"
                    time.sleep(0.1)

        async def read() -> object:
            async with connect_async(url) as reader:
                return await reader.get("facestream:test")

        assert asyncio.run(read()) == b"after"
        assert replica.client.get("facestream:test") == "after"
