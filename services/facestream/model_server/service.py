"""The embedded model server as a service: gRPC in front, the models folder behind.

Listens at once and answers NOT_FOUND until a model is loaded; a thread polls the folder. On stop
it takes no new request, finishes those in hand and returns.
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

_NEED = "model"
_DRAIN_S = 8.0
# So many Predicts run or wait for a free inference; more are told RESOURCE_EXHAUSTED at once.
_MAX_PREDICTS = 64
# Threads that no Predict may have: status and health calls get through whatever waits. Threads
# are made when they are needed, so that a quiet server has few.
_SPARE_THREADS = 8
# A connection ends after so long: then a worker looks the name up again and finds servers that were
# added. Requests under way are answered first; no worker waits longer than that for one.
_CONNECTION_AGE_MS, _CONNECTION_GRACE_MS = 60_000, 30_000


class ModelServer:
    """Everything of a running model server; `port` and `health_port` tell where it listens.

    Raises:
        StartError: an address is taken.
    """

    def __init__(self, settings: ModelServerSettings) -> None:
        self._settings = settings
        registry = CollectorRegistry()
        metrics = ModelServerMetrics(registry)
        self.health = Health((_NEED,), heartbeat_timeout_s=60 + 3 * settings.model_poll_interval_s)
        self.repository: Repository[Model] = Repository(settings.models_dir, self._load, metrics)
        self._grpc_health = grpc_health.HealthServicer()
        self._say_serving(False)
        threads = _MAX_PREDICTS + _SPARE_THREADS
        self._server = grpc.server(
            ThreadPoolExecutor(threads, "rpc"),
            options=[
                ("grpc.so_reuseport", 0),  # a taken port is an error, not a second server on it
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
        """Answer until `stop` is set; then finish what is in hand."""
        self._server.start()
        poller = threading.Thread(target=self._poll, args=(stop,), name="poll", daemon=True)
        poller.start()
        stop.wait()
        self._grpc_health.enter_graceful_shutdown()
        self._server.stop(_DRAIN_S).wait(_DRAIN_S)
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
        trim_heap()  # compiling takes several times the model's size
        return model

    def _poll(self, stop: threading.Event) -> None:
        while True:
            try:
                self.repository.poll()
            except Exception:
                log.exception("looking into %s failed", self._settings.models_dir)
            self.health.heartbeat()
            served = self.repository.served()
            if served:
                self.health.mark_available(_NEED)
            else:
                self.health.mark_unavailable(_NEED, f"none in {self._settings.models_dir}")
            self._say_serving(bool(served))
            if stop.wait(self._settings.model_poll_interval_s):
                return

    def _say_serving(self, serving_now: bool) -> None:
        status: Any = health_pb2.HealthCheckResponse
        state = status.SERVING if serving_now else status.NOT_SERVING
        for service in ("", tf_serving_wire.PREDICTION_SERVICE, tf_serving_wire.MODEL_SERVICE):
            self._grpc_health.set(service, state)


def serve(settings: ModelServerSettings, stop: threading.Event) -> None:
    """Run the model server until `stop` is set.

    Raises:
        StartError: an address is taken.
    """
    retain_large_buffers()
    ModelServer(settings).run(stop)


def _listen(server: Any, settings: ModelServerSettings) -> int:
    place = f"{settings.host}:{settings.port}"
    try:
        if settings.tls_cert_file and settings.tls_key_file:
            credentials = server_credentials(
                settings.tls_cert_file, settings.tls_key_file, settings.tls_client_ca_file
            )
            bound: int = server.add_secure_port(place, credentials)
        else:
            bound = server.add_insecure_port(place)
    except RuntimeError:
        bound = 0
    if not bound:
        why = "taken or not an address of this machine"
        if settings.tls_cert_file:
            why += ", or certificate and key do not belong together"
        raise StartError(f"cannot listen on {place}: {why}; choose another with --port")
    return bound
