"""What tests of the annotator start from."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fixtures.annotator import Pipeline, Running
from tests.fixtures.waiting import wait_for


@pytest.fixture
def pipeline(broker_url: str) -> Iterator[Pipeline]:
    made = Pipeline(broker_url)
    yield made
    made.redis.close()


@pytest.fixture
def annotator(broker_url: str, pipeline: Pipeline) -> Iterator[Running]:
    pipeline.camera("door")
    running = Running(broker_url)
    wait_for(lambda: running.http.get("/api/cameras").json(), "the camera's discovery")
    yield running
    running.end()
