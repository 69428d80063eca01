"""The model server service: a gRPC server and a thread that polls the models folder.

The server listens at once and returns NOT_FOUND until a model is loaded. On stop it rejects new
requests, finishes those in flight and returns.
"""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health as grpc_health
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import CollectorRegistry

from facestream.common.core.errors import StartError
from facestream.common.core.malloc_tuning import retain_large_buffers, trim_heap
from facestream.common.observability.health import Health, serve_health
from facestream.common.serving import tf_serving_wire
from facestream.common.serving.grpc_tls import server_credentials
from facestream.model_server.grpc_service import ModelService
from facestream.model_server.metrics import ModelServerMetrics
from facestream.model_server.model import Model
from facestream.model_server.model_repository import Repository
from facestream.model_server.settings import ModelServerSettings

log = logging.getLogger(__name__)

_DEPENDENCY = "model"
_DRAIN_TIMEOUT_S = 8.0
# Most Predict requests that run or wait; more get RESOURCE_EXHAUSTED at once.
_MAX_PREDICTS = 64
# Threads that Predict cannot use, so that status and health calls are never blocked. Threads start
# on demand, so an idle server has few.
_SPARE_THREADS = 8
# Connections are closed after this time, so that workers resolve the name again and find added
# servers. Requests in flight get a grace period longer than any worker's timeout.
_CONNECTION_AGE_MS, _CONNECTION_GRACE_MS = 60_000, 30_000


class ModelServer:
    """A running model server; `port` and `health_port` are the ports that it listens on.

    Raises:
        StartError: an address is already in use.
    """

    def __init__(self, settings: ModelServerSettings) -> None:
        self._settings = settings
        registry = CollectorRegistry()
        metrics = ModelServerMetrics(registry)
        self.health = Health(
            (_DEPENDENCY,), heartbeat_timeout_s=60 + 3 * settings.model_poll_interval_s
        )
        self.repository: Repository[Model] = Repository(
            settings.models_dir, self._load, metrics, settings.models_config_file
        )
        self._grpc_health = grpc_health.HealthServicer()
        self._set_health(False)
        threads = _MAX_PREDICTS + _SPARE_THREADS
        self._server = grpc.server(
            ThreadPoolExecutor(threads, "rpc"),
            options=[
                ("grpc.so_reuseport", 0),  # a port in use is an error, not a second server on it
                ("grpc.max_receive_message_length", tf_serving_wire.MAX_MESSAGE_BYTES),
                ("grpc.max_send_message_length", tf_serving_wire.MAX_MESSAGE_BYTES),
                ("grpc.max_connection_age_ms", _CONNECTION_AGE_MS),
                ("grpc.max_connection_age_grace_ms", _CONNECTION_GRACE_MS),
            ],
            maximum_concurrent_rpcs=threads,
        )
        service = ModelService(
            self.repository,
            metrics,
            max_batch_size=settings.max_batch_size,
            max_predicts=_MAX_PREDICTS,
        )
        self._server.add_generic_rpc_handlers(service.handlers())
        health_pb2_grpc.add_HealthServicer_to_server(self._grpc_health, self._server)
        self.port = _listen(self._server, settings)
        self._http = serve_health(self.health, registry, settings.health_host, settings.health_port)
        self.health_port = self._http.server_port

    def run(self, stop: threading.Event) -> None:
        """Serve until `stop` is set; then finish the requests in flight."""
        self._server.start()
        poller = threading.Thread(target=self._poll, args=(stop,), name="poll", daemon=True)
        poller.start()
        stop.wait()
        self._grpc_health.enter_graceful_shutdown()
        self._server.stop(_DRAIN_TIMEOUT_S).wait(_DRAIN_TIMEOUT_S)
        self._http.shutdown()
        self._http.server_close()

    def _load(self, folder: Path) -> Model:
        settings = self._settings
        model = Model(
            folder,
            streams=settings.max_concurrent_inferences,
            precision=settings.inference_precision,
        )
        model.warm_up()
        trim_heap()  # compilation uses several times the model's size
        return model

    def _poll(self, stop: threading.Event) -> None:
        while True:
            try:
                self.repository.poll()
            except Exception:
                log.exception("polling %s failed", self._settings.models_dir)
            self.health.heartbeat()
            served = self.repository.served()
            if served:
                self.health.mark_available(_DEPENDENCY)
            else:
                self.health.mark_unavailable(
                    _DEPENDENCY, f"no model in {self._settings.models_dir}"
                )
            self._set_health(bool(served))
            if stop.wait(self._settings.model_poll_interval_s):
                return

    def _set_health(self, is_serving: bool) -> None:
        status: Any = health_pb2.HealthCheckResponse
        state = status.SERVING if is_serving else status.NOT_SERVING
        for service in ("", tf_serving_wire.PREDICTION_SERVICE, tf_serving_wire.MODEL_SERVICE):
            self._grpc_health.set(service, state)


def serve(settings: ModelServerSettings, stop: threading.Event) -> None:
    """Run the model server until `stop` is set.

    Raises:
        StartError: an address is already in use.
    """
    retain_large_buffers()
    ModelServer(settings).run(stop)


def _listen(server: Any, settings: ModelServerSettings) -> int:
    address = f"{settings.host}:{settings.port}"
    try:
        if settings.tls_cert_file and settings.tls_key_file:
            credentials = server_credentials(
                settings.tls_cert_file, settings.tls_key_file, settings.tls_client_ca_file
            )
            bound: int = server.add_secure_port(address, credentials)
        else:
            bound = server.add_insecure_port(address)
    except RuntimeError:
        bound = 0
    if not bound:
        cause = "in use, or not an address of this machine"
        if settings.tls_cert_file:
            cause += ", or certificate and key do not match"
        raise StartError(f"cannot listen on {address}: {cause}; choose another with --port")
    return bound
