"""How many people are and were in view, and who."""

from __future__ import annotations

from deploy.grafana.panels import Panel, Query, stat

_VISITS = "facestream_annotator_visits_total"
_IN_VIEW = "facestream_annotator_person_seconds_total"

PANELS = [
    stat("People counted, last hour", f"sum(increase({_VISITS}[1h])) or on () vector(0)"),
    stat("People counted, last 24 h", f"sum(increase({_VISITS}[24h])) or on () vector(0)"),
    stat("People in view now", "sum(facestream_annotator_people_in_view)"),
    stat(
        "Most at a time, last hour", "max_over_time(sum(facestream_annotator_people_in_view)[1h:])"
    ),
    stat("Mean in view, last hour", f"sum(increase({_IN_VIEW}[1h])) / 3600"),
    stat(
        "Minutes looked on, last hour",
        f"sum(increase({_IN_VIEW}[1h])) / 60",
        help="The sum over all people of the time each was in view.",
    ),
    stat("Answers, last hour", "sum(increase(facestream_annotator_results_total[1h]))"),
    Panel(
        "People in view",
        [Query("sum by (camera) (facestream_annotator_people_in_view)", "{{camera}}")],
        width=24,
    ),
    Panel(
        "People counted, by hour",
        [Query(f"sum by (camera) (increase({_VISITS}[1h]))", "{{camera}}")],
        help="Each person once a visit. Exact numbers are on the page: Prometheus estimates them.",
    ),
    Panel(
        "By age band, by hour",
        [Query(f"sum by (age_band) (increase({_VISITS}[1h]))", "{{age_band}}")],
    ),
    Panel(
        "By gender, by hour",
        [Query(f"sum by (gender) (increase({_VISITS}[1h]))", "{{gender}}")],
    ),
    Panel(
        "Mean in view, by hour",
        [Query(f"sum by (camera) (increase({_IN_VIEW}[1h])) / 3600", "{{camera}}")],
        width=12,
    ),
    Panel(
        "Most at a time, by hour",
        [
            Query(
                "max by (camera) (max_over_time(facestream_annotator_people_in_view[1h]))",
                "{{camera}}",
            )
        ],
        width=12,
    ),
]
