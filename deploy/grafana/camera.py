"""Camera dashboard: the overview's figures for the cameras chosen in `$camera`."""

from __future__ import annotations

from deploy.grafana.panels import Panel, Query, rate, stat

_CAMERA = '{camera=~"$camera"}'


def _query(metric: str, legend: str, by: str = "camera") -> Query:
    return Query(rate(metric, by, _CAMERA), legend)


PANELS = [
    stat("Frame rate", f"sum(camera:frames:rate1m{_CAMERA})"),
    stat("Active tracks", f"sum(facestream_capture_active_tracks{_CAMERA})"),
    stat("People in view", f"sum(facestream_annotator_people_in_view{_CAMERA})"),
    stat("Video streams", f"sum(facestream_annotator_video_streams{_CAMERA}) or vector(0)"),
    stat(
        "Reconnects, last hour",
        f"sum(increase(facestream_capture_reconnects_total{_CAMERA}[1h])) or vector(0)",
        red_from=5,
    ),
    stat("Results, last hour", f"sum(increase(facestream_annotator_results_total{_CAMERA}[1h]))"),
    Panel(
        "Frame rate",
        [
            _query("facestream_capture_frames_total", "decoded {{camera}}"),
            _query("facestream_capture_frames_published_total", "published {{camera}}"),
            _query("facestream_annotator_frames_annotated_total", "annotated {{camera}}"),
        ],
        width=12,
    ),
    Panel(
        "Frame drop rate by reason",
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
                "{{camera}} skipped for slow clients",
            ),
        ],
        width=12,
    ),
    Panel(
        "Detection rate",
        [_query("facestream_capture_detections_total", "{{camera}}")],
    ),
    Panel(
        "Face rate",
        [
            _query("facestream_capture_faces_detected_total", "detected {{camera}}"),
            _query("facestream_capture_faces_published_total", "published {{camera}}"),
            _query("facestream_annotator_results_total", "results {{camera}}"),
        ],
    ),
    Panel(
        "Face drop rate by reason",
        [
            _query(
                "facestream_capture_faces_dropped_total",
                "{{camera}} {{reason}}",
                by="camera, reason",
            )
        ],
    ),
]
