"""Prometheus metrics of the capture service."""

from __future__ import annotations

from typing import Literal

from prometheus_client import CollectorRegistry

from facestream.common.observability.metrics import ServiceMetrics, remove_series

FrameDropReason = Literal[
    "invalid",  # cannot be decoded
    "stale",  # decoding is too slow, or a phone had sent a newer frame
    "detector_busy",  # the previous detection of this camera is still waiting
    "superseded",  # a newer frame came before this one was published
    "broker_unavailable",
    "unsupported_pixel_format",
    "lease_lost",  # another replica holds the camera's lease
    "camera_removed",
    "internal_error",
]
FaceDropReason = Literal[
    "encode_failed",  # the crop cannot be cut or encoded
    "broker_unavailable",
    "lease_lost",
    "camera_removed",
    "overflow",  # was published, then pushed out of its stream by newer faces
    "expired",  # was published, and no worker took it in time
]


class CaptureMetrics(ServiceMetrics):
    """Metrics from decoded frames to published face crops.

    `reason` of a dropped frame is a `FrameDropReason`, of a dropped face a `FaceDropReason`.
    """

    service = "capture"

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)
        self.cameras = self._gauge("cameras", "Cameras by state", ("state",))
        self.frames = self._counter("frames_total", "Frames decoded", ("camera",))
        self.frames_published = self._counter(
            "frames_published_total", "Frames published with a JPEG", ("camera",)
        )
        self.frames_dropped = self._counter(
            "frames_dropped_total", "Frames dropped, by reason", ("camera", "reason")
        )
        self.reconnects = self._counter("reconnects_total", "Camera reconnects", ("camera",))
        self.scene_cuts = self._counter(
            "scene_cuts_total", "Scene cuts, each of which ends all tracks", ("camera",)
        )
        self.detections = self._counter("detections_total", "Detector runs", ("camera",))
        self.detections_skipped = self._counter(
            "detections_skipped_total",
            "Detector runs skipped by the motion gate",
            ("camera",),
        )
        self.faces_detected = self._counter(
            "faces_detected_total", "Faces found by the detector", ("camera",)
        )
        self.faces_published = self._counter(
            "faces_published_total", "Face crops published to the workers", ("camera",)
        )
        self.faces_dropped = self._counter(
            "faces_dropped_total",
            "Face crops dropped before or after publishing, by reason",
            ("camera", "reason"),
        )
        self.active_tracks = self._gauge("active_tracks", "Faces tracked now", ("camera",))
        self.stage_duration = self._seconds(
            "stage_duration", "Duration of one pipeline stage", ("stage",)
        )
        self.broker_errors = self._counter("broker_errors_total", "Failed calls to the broker")
        self.leases_held = self._gauge("leases_held", "Camera leases held by this replica")
        self.leases_lost = self._counter(
            "leases_lost_total", "Camera leases lost to another replica"
        )
        self.replicas = self._gauge("replicas", "Capture replicas that share the cameras")

    def forget_paused(self, camera: str) -> None:
        """Drop the series by which alerts would take a paused camera for a silent one."""
        remove_series(self.frames, (camera,))
        remove_series(self.active_tracks, (camera,))
