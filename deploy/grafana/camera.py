"""The same questions as in the overview, by camera; `$camera` is chosen in Grafana."""

from __future__ import annotations

from deploy.grafana.panels import Panel, Query, rate, stat

_CAMERA = '{camera=~"$camera"}'

PANELS = [
    stat("Frames a second", f"sum(camera:frames:rate1m{_CAMERA})"),
    stat("Faces followed", f"sum(facestream_capture_tracks{_CAMERA})"),
    stat("People in view", f"sum(facestream_annotator_people{_CAMERA})"),
    stat("Viewers", f"sum(facestream_annotator_viewers{_CAMERA}) or vector(0)"),
    stat(
        "Reconnections, last hour",
        f"sum(increase(facestream_capture_reconnects_total{_CAMERA}[1h])) or vector(0)",
        red_from=5,
    ),
    stat("Results, last hour", f"sum(increase(facestream_annotator_results_total{_CAMERA}[1h]))"),
    Panel(
        "Frames a second",
        [
            Query(rate("facestream_capture_frames_total", "camera", _CAMERA), "read {{camera}}"),
            Query(
                rate("facestream_capture_frames_published_total", "camera", _CAMERA),
                "sent with picture {{camera}}",
            ),
            Query(
                rate("facestream_annotator_frames_drawn_total", "camera", _CAMERA),
                "drawn {{camera}}",
            ),
        ],
        width=12,
    ),
    Panel(
        "Frames dropped a second",
        [
            Query(
                rate("facestream_capture_frames_dropped_total", "camera, reason", _CAMERA),
                "{{camera}} capture: {{reason}}",
            ),
            Query(
                rate("facestream_annotator_frames_dropped_total", "camera, reason", _CAMERA),
                "{{camera}} annotator: {{reason}}",
            ),
            Query(
                rate("facestream_annotator_viewer_frames_skipped_total", "camera", _CAMERA),
                "{{camera}} skipped for slow viewers",
            ),
        ],
        width=12,
    ),
    Panel(
        "Detector runs a second",
        [Query(rate("facestream_capture_detections_total", "camera", _CAMERA), "{{camera}}")],
    ),
    Panel(
        "Faces a second",
        [
            Query(
                rate("facestream_capture_faces_found_total", "camera", _CAMERA), "found {{camera}}"
            ),
            Query(
                rate("facestream_capture_faces_published_total", "camera", _CAMERA),
                "sent {{camera}}",
            ),
            Query(
                rate("facestream_annotator_results_total", "camera", _CAMERA), "result {{camera}}"
            ),
        ],
    ),
    Panel(
        "Faces dropped a second",
        [
            Query(
                rate("facestream_capture_faces_dropped_total", "camera, reason", _CAMERA),
                "{{camera}} {{reason}}",
            )
        ],
    ),
]
