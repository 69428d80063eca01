"""Overview dashboard: cameras live, faces processed, errors, and load of the machine."""

from __future__ import annotations

from deploy.grafana.panels import RATE, Panel, Query, quantiles, rate, stat

PANELS = [
    stat("Cameras live", "facestream:cameras_live"),
    stat("Cameras down", "facestream:cameras_down", red_from=1),
    stat("People in view", "sum(facestream_annotator_people_in_view)"),
    stat("Frame rate", "sum(camera:frames:rate1m)"),
    stat("Result rate", "facestream:faces_processed:rate1m"),
    stat("Result latency (p95)", "facestream:result_latency_seconds:p95", "s", red_from=2),
    stat("Oldest pending face", "facestream:oldest_pending_face_seconds", "s", red_from=2),
    stat("Video streams", "sum(facestream_annotator_video_streams) or vector(0)"),
    Panel("Frame rate", [Query(rate("facestream_capture_frames_total", "camera"), "{{camera}}")]),
    Panel(
        "Face rate",
        [
            Query(rate("facestream_capture_faces_detected_total"), "detected"),
            Query(rate("facestream_capture_faces_published_total"), "published"),
            Query(rate("facestream_worker_faces_processed_total"), "processed"),
            Query("facestream:faces_dropped:rate1m", "dropped"),
        ],
    ),
    Panel(
        "Drop rate by reason",
        [
            Query(rate("facestream_capture_frames_dropped_total", "reason"), "frame: {{reason}}"),
            Query(rate("facestream_capture_faces_dropped_total", "reason"), "face: {{reason}}"),
            Query(rate("facestream_worker_faces_dropped_total", "reason"), "worker: {{reason}}"),
            Query(
                rate("facestream_annotator_results_dropped_total", "reason"), "result: {{reason}}"
            ),
        ],
        description="Every drop is counted. overflow and stale mean too few workers.",
    ),
    Panel(
        "Face accounting since broker start",
        [
            Query("max by (outcome) (facestream_worker_face_outcomes)", "{{outcome}}"),
            Query("max(facestream_worker_unaccounted_faces)", "unaccounted"),
        ],
        description="published is the sum of the other outcomes; unaccounted is 0.",
    ),
    Panel(
        "Result latency",
        quantiles("facestream_annotator_result_latency_seconds"),
        "s",
    ),
    Panel(
        "Frame latency",
        quantiles("facestream_annotator_frame_latency_seconds"),
        "s",
        description="From capture to the annotated frame. Measured only while a client watches.",
    ),
    Panel(
        "Inference request duration",
        quantiles("facestream_worker_inference_request_seconds", "model"),
        "s",
    ),
    Panel(
        "Backlog",
        [
            Query("facestream:backlog_faces", "faces"),
            Query("facestream:oldest_pending_face_seconds", "age of the oldest face, s"),
        ],
    ),
    Panel(
        "Batch size",
        [
            Query(
                f"sum(rate(facestream_worker_batch_size_sum{RATE})) / "
                f"sum(rate(facestream_worker_batch_size_count{RATE}))",
                "mean",
            )
        ],
    ),
    Panel(
        "Error rate",
        [
            Query(
                rate("facestream_worker_inference_request_errors_total", "code"),
                "model server: {{code}}",
            ),
            Query(rate("facestream_capture_broker_errors_total"), "capture: broker"),
            Query(rate("facestream_worker_broker_errors_total"), "worker: broker"),
            Query(rate("facestream_annotator_broker_errors_total"), "annotator: broker"),
        ],
    ),
    Panel(
        "Cameras by capture replica",
        [
            Query("facestream_capture_leases_held", "{{instance}}"),
            Query(rate("facestream_capture_leases_lost_total"), "leases lost per second"),
        ],
        description="Replicas share the cameras. One without a heartbeat for 5 s loses its leases.",
    ),
    Panel(
        "CPU",
        [Query("job:process_cpu_seconds:rate1m", "{{job}}")],
        "percentunit",
        description="1 is one core. TensorFlow Serving does not export its CPU time.",
    ),
    Panel("Memory", [Query("sum by (job) (process_resident_memory_bytes)", "{{job}}")], "bytes"),
    Panel(
        "Redis memory",
        [
            Query("redis_memory_used_bytes", "used"),
            Query("redis_memory_max_bytes", "limit"),
        ],
        "bytes",
    ),
]
