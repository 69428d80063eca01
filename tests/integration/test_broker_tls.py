"""TLS and ACL users: a real Redis server with both kinds of client."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from facestream.common.broker.connection import BROKER_ERRORS, connect, connect_async
from pydantic import SecretStr

from tests.fixtures.certificates import self_signed
from tests.fixtures.deploy import tool

DEADLINE_S = 10.0


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the URL of a Redis server with TLS only and one user, ann."""
    server = tool("redis-server")
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = self_signed(folder)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with _running(server, folder, port, certificate, key):
        yield f"rediss://ann:s%23cret@127.0.0.1:{port}/0?ssl_ca_certs={certificate}"


@contextmanager
def _running(server: str, folder: Path, port: int, certificate: Path, key: Path) -> Iterator[None]:
    configuration = folder / "redis.conf"
    lines = ["port 0", f"tls-port {port}", "bind 127.0.0.1", "tls-auth-clients no", 'save ""']
    lines += [f"tls-cert-file {certificate}", f"tls-key-file {key}"]
    lines += [f"tls-ca-cert-file {certificate}", f"dir {folder}", "user default off"]
    lines += ["user ann on >s#cret ~facestream:* +@all"]
    configuration.write_text("\n".join(lines) + "\n")
    process = subprocess.Popen(
        [server, str(configuration)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        end = time.monotonic() + DEADLINE_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert time.monotonic() < end, "the broker did not start"
                time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(DEADLINE_S)


def test_both_clients_connect_by_tls_as_an_acl_user(url: str) -> None:
    with connect(SecretStr(url)) as client:
        client.set("facestream:test", "1")
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.set("elsewhere", "1")

    async def read() -> object:
        async with connect_async(SecretStr(url)) as client:
            return await client.get("facestream:test")

    assert asyncio.run(read()) == b"1"


def test_an_untrusted_certificate_is_rejected(url: str) -> None:
    bare = url.partition("?")[0]
    with connect(SecretStr(bare)) as client, pytest.raises(BROKER_ERRORS):
        client.ping()
