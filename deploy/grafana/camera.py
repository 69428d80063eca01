"""The same questions as in the overview, by camera; `$camera` is chosen in Grafana."""

from __future__ import annotations

from deploy.grafana.panels import Panel, Query, rate, stat

_CAMERA = '{camera=~"$camera"}'


def _query(metric: str, legend: str, by: str = "camera") -> Query:
    return Query(rate(metric, by, _CAMERA), legend)


PANELS = [
    stat("Frames a second", f"sum(camera:frames:rate1m{_CAMERA})"),
    stat("Faces followed", f"sum(facestream_capture_active_tracks{_CAMERA})"),
    stat("People in view", f"sum(facestream_annotator_people_in_view{_CAMERA})"),
    stat("Viewers", f"sum(facestream_annotator_video_streams{_CAMERA}) or vector(0)"),
    stat(
        "Reconnections, last hour",
        f"sum(increase(facestream_capture_reconnects_total{_CAMERA}[1h])) or vector(0)",
        red_from=5,
    ),
    stat("Results, last hour", f"sum(increase(facestream_annotator_results_total{_CAMERA}[1h]))"),
    Panel(
        "Frames a second",
        [
            _query("facestream_capture_frames_total", "read {{camera}}"),
            _query("facestream_capture_frames_published_total", "sent with picture {{camera}}"),
            _query("facestream_annotator_frames_annotated_total", "drawn {{camera}}"),
        ],
        width=12,
    ),
    Panel(
        "Frames dropped a second",
        [
            _query(
                "facestream_capture_frames_dropped_total",
                "{{camera}} capture: {{reason}}",
                by="camera, reason",
            ),
            _query(
                "facestream_annotator_frames_dropped_total",
                "{{camera}} annotator: {{reason}}",
                by="camera, reason",
            ),
            _query(
                "facestream_annotator_stream_frames_skipped_total",
                "{{camera}} skipped for slow viewers",
            ),
        ],
        width=12,
    ),
    Panel(
        "Detector runs a second",
        [_query("facestream_capture_detections_total", "{{camera}}")],
    ),
    Panel(
        "Faces a second",
        [
            _query("facestream_capture_faces_detected_total", "found {{camera}}"),
            _query("facestream_capture_faces_published_total", "sent {{camera}}"),
            _query("facestream_annotator_results_total", "result {{camera}}"),
        ],
    ),
    Panel(
        "Faces dropped a second",
        [
            _query(
                "facestream_capture_faces_dropped_total",
                "{{camera}} {{reason}}",
                by="camera, reason",
            )
        ],
    ),
]
