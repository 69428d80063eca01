"""TLS between a real worker client and a real model server, with certificates from openssl."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from facestream.common.core.errors import SettingsError, StartError
from facestream.common.serving.grpc_tls import client_credentials
from facestream.model_server.service import ModelServer
from facestream.model_server.settings import ModelServerSettings
from facestream.worker.metrics import WorkerMetrics
from facestream.worker.serving_client import ModelServerUnavailableError, ServingClient
from facestream.worker.settings import WorkerSettings
from prometheus_client import CollectorRegistry

from tests.fixtures.certificates import self_signed
from tests.fixtures.polling import wait_for
from tests.fixtures.serving import TINY_MODELS, settings_for

FACES = np.zeros((2, 128, 128, 3), np.uint8)


@contextmanager
def serving(**tls: Path) -> Iterator[ModelServer]:
    server = ModelServer(settings_for(TINY_MODELS).model_copy(update=tls))
    stop = threading.Event()
    thread = threading.Thread(target=server.run, args=(stop,))
    thread.start()
    try:
        wait_for(server.repository.served)
        yield server
    finally:
        stop.set()
        thread.join(15)


def predicted_faces(port: int, *credentials: Path, timeout_s: float = 20.0) -> int:
    """Return the number of predictions for a client with these files (CA, certificate, key)."""
    ca, cert, key = (*credentials, None, None, None)[:3]
    client = ServingClient(
        f"localhost:{port}",
        ("age_gender",),
        2.0,
        WorkerMetrics(CollectorRegistry()),
        lambda failure: None,
        client_credentials(ca, cert, key) if ca else None,
    )
    try:
        return len(
            client.predict_with_retry(FACES, time.monotonic() + timeout_s, threading.Event()).age
        )
    finally:
        client.close()


def test_faces_are_sent_only_to_a_trusted_server(tmp_path: Path) -> None:
    cert, key = self_signed(tmp_path)
    other, _ = self_signed(tmp_path, "other")
    with serving(tls_cert_file=cert, tls_key_file=key) as server:
        assert predicted_faces(server.port, cert) == 2
        with pytest.raises(ModelServerUnavailableError):
            predicted_faces(server.port, other, timeout_s=0.5)
        with pytest.raises(ModelServerUnavailableError):
            predicted_faces(server.port, timeout_s=0.5)


def test_a_server_may_require_client_certificates(tmp_path: Path) -> None:
    cert, key = self_signed(tmp_path)
    worker_cert, worker_key = self_signed(tmp_path, "worker")
    files = {"tls_cert_file": cert, "tls_key_file": key, "tls_client_ca_file": worker_cert}
    with serving(**files) as server:
        assert predicted_faces(server.port, cert, worker_cert, worker_key) == 2
        with pytest.raises(ModelServerUnavailableError):
            predicted_faces(server.port, cert, timeout_s=0.5)
        with pytest.raises(ModelServerUnavailableError):
            predicted_faces(server.port, cert, cert, key, timeout_s=0.5)


def test_invalid_certificate_files_are_reported_in_one_line(tmp_path: Path) -> None:
    cert, key = self_signed(tmp_path)
    empty = tmp_path / "empty"
    empty.write_text("")
    settings = settings_for(TINY_MODELS)
    with pytest.raises(SettingsError, match="empty: not a PEM file"):
        ModelServer(settings.model_copy(update={"tls_cert_file": cert, "tls_key_file": empty}))
    with pytest.raises(SettingsError, match="No such file"):
        client_credentials(tmp_path / "none", None, None)
    broken = {"tls_cert_file": key, "tls_key_file": cert}  # swapped
    with pytest.raises(StartError, match="certificate and key do not match"):
        ModelServer(settings.model_copy(update=broken))
    for cls, half in (
        (ModelServerSettings, {"tls_cert_file": str(cert)}),
        (ModelServerSettings, {"tls_client_ca_file": str(cert)}),
        (WorkerSettings, {"model_server_cert_file": str(cert)}),
    ):
        with pytest.raises(SettingsError, match=r"requires|together"):
            cls.load(half, environ={})
