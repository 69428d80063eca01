"""Counting in a running annotator: statistics, webhook, and persistence across restarts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from facestream.annotator.counting import sqlalchemy_store
from facestream.common.core.paths import CHECKOUT
from pydantic import SecretStr

from tests.fixtures.annotator import Pipeline, Running
from tests.fixtures.databases import Postgres
from tests.fixtures.polling import wait_for

LINE = {"name": "door", "points": [[0.5, 1.0], [0.5, 0.0]]}


@pytest.fixture
def pipeline(broker_url: str) -> Iterator[Pipeline]:
    made = Pipeline(broker_url)
    made.camera("shop")
    yield made
    made.redis.close()


@pytest.fixture
def webhook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """An address, and the events that came there."""
    came: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.headers["X-Facestream-Signature"].startswith("sha256=")
            came.extend(json.loads(body)["events"])
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", came
        server.shutdown()


def walk_through(pipeline: Pipeline, tracks: list[int], seconds: float) -> None:
    for _ in range(round(seconds / 0.05)):
        pipeline.frame("shop", tracks)
        time.sleep(0.05)


@pytest.mark.parametrize("kind", ["file", "postgresql"])
def test_people_are_counted_stored_and_published(
    broker_url: str,
    pipeline: Pipeline,
    tmp_path: Path,
    webhook: tuple[str, list[dict[str, Any]]],
    kind: str,
    request: pytest.FixtureRequest,
) -> None:
    kept: dict[str, Any] = {"counts_db_file": tmp_path / "counts.sqlite3"}
    if kind == "postgresql":
        kept["counts_db_url_file"] = tmp_path / "counts-db-url"
        kept["counts_db_url_file"].write_text(request.getfixturevalue("database").url + "\n")
    settings: dict[str, Any] = {
        "min_visit_s": 0.3,
        "max_visit_gap_s": 0.2,
        **kept,
        "webhook_url": SecretStr(webhook[0]),
        "webhook_secret": SecretStr("key"),
        "webhook_allow_local": True,
    }
    running = Running(broker_url, **settings)
    wait_for(lambda: running.http.get("/api/cameras").json(), "the camera's discovery")
    changed = running.http.patch("/api/cameras/shop", json={"lines": [LINE]})
    assert changed.json()["lines"] == [LINE]
    refused = running.http.patch("/api/cameras/shop", json={"lines": [{"name": "x"}]})
    assert refused.status_code == 422
    zone = {"name": LINE["name"], "points": [[0, 0], [1, 0], [1, 1]]}
    refused = running.http.patch("/api/cameras/shop", json={"zones": [zone]})
    assert (refused.status_code, "rename one" in refused.json()["detail"]) == (422, True)
    heard = 'facestream_annotator_frames_total{camera="shop"}'
    while not running.metric(heard):
        walk_through(pipeline, [], 0.1)
    walk_through(pipeline, [2], 0.2)
    pipeline.result("shop", 2)
    walk_through(pipeline, [2], 0.2)
    walk_through(pipeline, [2, 6], 0.4)  # the tracks stand at 40 pixels times their number
    walk_through(pipeline, [], 2.4)
    wait_for(lambda: running.http.get("/api/stats").json()["total"] == 2, "the count")

    rows = running.http.get("/api/stats?by=camera,age_band&by=gender").json()["rows"]
    assert rows == [
        {"camera": "shop", "age_band": "30-39", "gender": "female", "count": 1},
        {"camera": "shop", "age_band": "unknown", "gender": "unknown", "count": 1},
    ]
    answer = running.http.get("/api/stats.csv?by=gender")
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.text == "gender,count\r\nfemale,1\r\nunknown,1\r\n"
    assert running.http.get("/api/stats?by=hour").json()["rows"][0]["count"] == 2
    for wrong in ("by=name", "from=soon", "tz=Mars", "kind=all", f"camera={'x' * 99}"):
        answer = running.http.get(f"/api/stats?{wrong}")
        assert answer.status_code == 422
        assert "\n" not in answer.json()["detail"]
    series = 'facestream_annotator_visits_total{age_band="30-39",camera="shop",gender="female"}'
    assert running.metric(series) == 1
    wait_for(lambda: len(webhook[1]) == 2, "the webhook's events")
    assert {event["camera"] for event in webhook[1]} == {"shop"}
    running.end()

    running = Running(broker_url, **settings)
    assert running.http.get("/api/stats").json()["total"] == 2
    running.end()
    assert (tmp_path / "counts.sqlite3").exists() == (kind == "file")


def test_counts_wait_for_an_unavailable_database(
    broker_url: str, pipeline: Pipeline, database: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At startup and after a crash of the database, every visit is counted and stored later."""
    monkeypatch.setattr(sqlalchemy_store, "REPLY_TIMEOUT_S", 1.0)
    refused = "cannot reach the database: Connection refused"
    database.stop()
    running = Running(
        broker_url, min_visit_s=0.1, max_visit_gap_s=0.2, counts_db_url=SecretStr(database.url)
    )

    def missing() -> dict[str, str]:
        answer = running.http.get("/readyz")
        assert (answer.status_code, answer.json()["ready"]) == (200, True)
        return dict(answer.json()["missing"])

    def counted() -> float:
        lines = running.http.get("/metrics").text.splitlines()
        visits = [line for line in lines if line.startswith("facestream_annotator_visits_total{")]
        return sum(float(line.rsplit(" ", 1)[1]) for line in visits)

    def visit_once() -> None:
        before = counted()
        walk_through(pipeline, [int(before) + 2], 0.3)
        for _ in range(200):
            walk_through(pipeline, [], 0.1)
            if counted() > before:
                return
        raise AssertionError("no visit was counted")

    def all_are_stored() -> bool:
        answer = running.http.get("/api/stats")
        return answer.status_code == 200 and answer.json()["total"] == counted()

    try:
        heard = 'facestream_annotator_frames_total{camera="shop"}'
        while not running.metric(heard):
            walk_through(pipeline, [], 0.1)
        assert missing() == {"counts": refused}
        visit_once()
        answer = running.http.get("/api/stats")
        assert answer.status_code == 503
        assert answer.json()["detail"] == f"cannot read counts: {refused}"
        database.start()
        wait_for(all_are_stored, "it is written")
        assert missing() == {}

        database.stop()
        visit_once()
        wait_for(lambda: missing() == {"counts": refused}, "the refusal is reported")
        database.start()
        wait_for(all_are_stored, "it is written")
        assert missing() == {}
        assert running.metric("facestream_annotator_counts_dropped_total") == 0
        database.hang()
    finally:
        took_s = running.end()
    assert took_s < 5
    database.stop()


def test_the_example_that_reads_results_from_redis(broker_url: str, pipeline: Pipeline) -> None:
    example = subprocess.Popen(
        [sys.executable, "examples/read_results.py", broker_url, "shop"],
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert example.stdout is not None
    stop = threading.Event()

    def answer() -> None:
        while not stop.wait(0.1):
            pipeline.result("shop", 3)

    answering = threading.Thread(target=answer)
    answering.start()
    try:
        assert example.stdout.readline() == "3: 34 years, 95% female\n"
    finally:
        stop.set()
        answering.join()
        example.kill()
        example.communicate()
