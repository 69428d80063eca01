"""What tests of the annotator, and of the model server, start from."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from services.model_server.service import ModelServer
from tests.fixtures.annotator import Pipeline, Running
from tests.fixtures.asking import Client
from tests.fixtures.serving import running_model_server, with_one_model
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


@pytest.fixture(scope="module")
def model_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    """A server for all tests that only ask."""
    with running_model_server(with_one_model(tmp_path_factory.mktemp("models"))) as server:
        wait_for(server.repository.served)
        yield server


@pytest.fixture
def model_client(model_server: ModelServer) -> Iterator[Client]:
    client = Client(model_server.port)
    yield client
    client.channel.close()
