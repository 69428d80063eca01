"""Prometheus metrics of the annotator."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from facestream.common.observability.metrics import ServiceMetrics


class AnnotatorMetrics(ServiceMetrics):
    """Frames and results received, frames annotated, people counted.

    Values of the label `reason`:

    - frames dropped: `invalid` (cannot be decoded), `wrong_camera` (names another camera than its
      stream), `superseded` (a newer frame came before its turn).
    - results dropped: `invalid`, `wrong_camera`, `unknown_track`, `duplicate` (a result for this
      face came before), `trimmed` (removed from its stream before it was read).
    - phone frames dropped: `invalid` (no JPEG), `invalid_size`, `stale` (a newer frame came first,
      or the upload timed out), `rate_limited`, `slot_taken` (another browser sends for this
      camera), `client_disconnected`, `paused`, `broker_unavailable`, `overflow` (capture did not
      read it in time).
    - webhook events dropped: `overflow`, `refused`, `failed`, `stopped`.
    """

    service = "annotator"

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)
        self.frames = self._counter("frames_total", "Frames received", ("camera",))
        self.frames_annotated = self._counter(
            "frames_annotated_total", "Frames annotated", ("camera",)
        )
        self.frames_dropped = self._counter(
            "frames_dropped_total", "Frames not shown, by reason", ("camera", "reason")
        )
        self.phone_frames = self._counter(
            "phone_frames_total", "Frames received from phones", ("camera",)
        )
        self.phone_frames_dropped = self._counter(
            "phone_frames_dropped_total",
            "Frames of phones not passed to capture, by reason",
            ("camera", "reason"),
        )
        self.results = self._counter("results_total", "Results joined to a track", ("camera",))
        self.results_dropped = self._counter(
            "results_dropped_total", "Results not used, by reason", ("reason",)
        )
        self.visits = self._counter(
            "visits_total", "People counted", ("camera", "age_band", "gender")
        )
        self.crossings = self._counter(
            "crossings_total", "Zones and lines crossed", ("camera", "region", "direction")
        )
        self.coverage = self._gauge(
            "coverage_ratio",
            "Share of the last minute in which detections were close enough to count people, 0-1",
            ("camera",),
        )
        self.count_write_errors = self._counter(
            "count_write_errors_total", "Failed writes to the count database"
        )
        self.counts_dropped = self._counter(
            "counts_dropped_total", "Counts lost because the count database stayed unavailable"
        )
        self.webhook_delivered = self._counter(
            "webhook_events_delivered_total", "Events that the webhook accepted"
        )
        self.webhook_dropped = self._counter(
            "webhook_events_dropped_total",
            "Events not delivered to the webhook, by reason",
            ("reason",),
        )
        self.people_in_view = self._gauge("people_in_view", "People in view", ("camera",))
        self.person_seconds = self._counter(
            "person_seconds_total", "Time in view summed over all people", ("camera",)
        )
        self.video_streams = self._gauge("video_streams", "Open video streams", ("camera",))
        self.stream_frames_skipped = self._counter(
            "stream_frames_skipped_total", "Frames skipped for slow clients", ("camera",)
        )
        self.frame_latency = self._seconds(
            "frame_latency", "From the capture of a frame to its annotated JPEG"
        )
        self.result_latency = self._seconds(
            "result_latency", "From the capture of a face to its result in the annotator"
        )
        self.stage_duration = self._seconds("stage_duration", "Duration of one stage", ("stage",))
        self.broker_errors = self._counter("broker_errors_total", "Failed calls to the broker")
