"""Do all cameras send, are all faces answered, does the machine keep up?"""

from __future__ import annotations

from deploy.grafana.panels import RATE, Panel, Query, quantiles, rate, stat

PANELS = [
    stat("Cameras live", "facestream:cameras_live"),
    stat("Cameras down", "facestream:cameras_down", red_from=1),
    stat("People in view", "sum(facestream_annotator_people_in_view)"),
    stat("Frames a second", "sum(camera:frames:rate1m)"),
    stat("Faces answered a second", "facestream:faces_answered:rate1m"),
    stat("Result after (p95)", "facestream:result_latency_seconds:p95", "s", red_from=2),
    stat("Oldest waiting face", "facestream:oldest_face_seconds", "s", red_from=2),
    stat("Viewers", "sum(facestream_annotator_video_streams) or vector(0)"),
    Panel(
        "Frames a second", [Query(rate("facestream_capture_frames_total", "camera"), "{{camera}}")]
    ),
    Panel(
        "Faces a second",
        [
            Query(rate("facestream_capture_faces_detected_total"), "found"),
            Query(rate("facestream_capture_faces_published_total"), "sent to workers"),
            Query(rate("facestream_worker_faces_processed_total"), "answered"),
            Query("facestream:faces_dropped:rate1m", "dropped"),
        ],
    ),
    Panel(
        "Drops a second, by reason",
        [
            Query(rate("facestream_capture_frames_dropped_total", "reason"), "frame: {{reason}}"),
            Query(rate("facestream_capture_faces_dropped_total", "reason"), "face: {{reason}}"),
            Query(rate("facestream_worker_faces_dropped_total", "reason"), "worker: {{reason}}"),
            Query(
                rate("facestream_annotator_results_dropped_total", "reason"), "result: {{reason}}"
            ),
        ],
        help="Nothing is dropped without being counted: overflow and stale mean too few workers.",
    ),
    Panel(
        "Faces since the broker began, by what became of them",
        [
            Query("max by (fate) (facestream_worker_face_outcomes)", "{{fate}}"),
            Query("max(facestream_worker_unaccounted_faces)", "unexplained"),
        ],
        help="published = all the others together; unexplained is 0.",
    ),
    Panel(
        "From a face's capture to its result",
        quantiles("facestream_annotator_result_latency_seconds"),
        "s",
    ),
    Panel(
        "From a frame's capture to its picture",
        quantiles("facestream_annotator_frame_latency_seconds"),
        "s",
        help="Only while somebody watches: else no picture is made.",
    ),
    Panel(
        "One request to the model server",
        quantiles("facestream_worker_inference_request_seconds", "model"),
        "s",
    ),
    Panel(
        "Faces waiting",
        [
            Query("facestream:backlog_faces", "faces"),
            Query("facestream:oldest_face_seconds", "age of the oldest, s"),
        ],
    ),
    Panel(
        "Faces per request",
        [
            Query(
                f"sum(rate(facestream_worker_batch_size_sum{RATE})) / "
                f"sum(rate(facestream_worker_batch_size_count{RATE}))",
                "mean",
            )
        ],
    ),
    Panel(
        "Errors a second",
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
            Query(rate("facestream_capture_leases_lost_total"), "taken over, a second"),
        ],
        help="Replicas share the cameras evenly; one that is silent for 5 s loses its own.",
    ),
    Panel(
        "CPU",
        [Query("job:process_cpu_seconds:rate1m", "{{job}}")],
        "percentunit",
        help="1 is one core. TensorFlow Serving does not tell its own.",
    ),
    Panel("Memory", [Query("sum by (job) (process_resident_memory_bytes)", "{{job}}")], "bytes"),
    Panel(
        "Memory of the broker",
        [
            Query("redis_memory_used_bytes", "used"),
            Query("redis_memory_max_bytes", "at most"),
        ],
        "bytes",
    ),
]
