"""The capture service: reads this replica's share of the cameras and publishes frames and faces.

This module connects the parts: the control loop (`control_loop`) decides which cameras are read,
one reader thread per camera decodes (`sources`), the detector thread finds and tracks faces
(`faces`), and the publisher thread writes to the broker (`publishing`).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from prometheus_client import CollectorRegistry

from facestream.capture.control_loop import ControlLoop
from facestream.capture.faces.detector_thread import DetectorThread
from facestream.capture.metrics import CaptureMetrics
from facestream.capture.ownership.leases import Leases, replica_name
from facestream.capture.publishing.publisher import PublisherThread
from facestream.capture.settings import CaptureSettings
from facestream.common.broker.connection import connect
from facestream.common.cameras.config_file import load_cameras
from facestream.common.cameras.models import Camera, check_unique_names
from facestream.common.observability.health import Dependency, Health, serve_health

_BROKER = "broker"


def serve(settings: CaptureSettings, stop: threading.Event, cameras: Sequence[Camera] = ()) -> None:
    """Run the service until `stop` is set.

    Args:
        settings: of capture.
        stop: ends the service.
        cameras: configured cameras, besides those of `settings.cameras_file`.

    Raises:
        SettingsError: the cameras file or the broker URL is invalid.
        StartError: the health port is taken.
    """
    configured = list(cameras)
    if settings.cameras_file is not None:
        configured += load_cameras(settings.cameras_file)
    configured = check_unique_names(configured)
    # Separate connections: the control loop, the publisher and phone readers block in their calls.
    control_broker, publisher_broker, phone_broker = (connect(settings.broker) for _ in range(3))
    registry = CollectorRegistry()
    metrics, health = CaptureMetrics(registry), Health(required=(_BROKER,))
    server = serve_health(health, registry, settings.health_host, settings.health_port)
    replica = replica_name(server.server_port)
    leases = Leases(control_broker, replica, settings.max_cameras, settings.lease_ttl_s, metrics)
    dependency = Dependency(health, _BROKER)
    publisher = PublisherThread(
        publisher_broker, settings, metrics, dependency.report, leases.holds
    )
    detector = DetectorThread(settings, metrics, publisher.publish_detection)
    control_loop = ControlLoop(
        settings,
        configured,
        control_broker,
        phone_broker,
        leases,
        detector,
        publisher,
        metrics,
        health,
        dependency,
    )
    try:
        control_loop.run(stop)
    finally:
        server.shutdown()
        server.server_close()
        control_broker.close()
        publisher_broker.close()
        phone_broker.close()
