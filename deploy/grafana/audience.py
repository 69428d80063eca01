"""Audience dashboard: people in view and people counted, by age band and gender."""

from __future__ import annotations

from deploy.grafana.panels import Panel, Query, stat

_VISITS = "facestream_annotator_visits_total"
_IN_VIEW = "facestream_annotator_person_seconds_total"

PANELS = [
    stat("People counted, last hour", f"sum(increase({_VISITS}[1h])) or on () vector(0)"),
    stat("People counted, last 24 h", f"sum(increase({_VISITS}[24h])) or on () vector(0)"),
    stat("People in view now", "sum(facestream_annotator_people_in_view)"),
    stat("Peak in view, last hour", "max_over_time(sum(facestream_annotator_people_in_view)[1h:])"),
    stat("Average in view, last hour", f"sum(increase({_IN_VIEW}[1h])) / 3600"),
    stat(
        "Person-minutes in view, last hour",
        f"sum(increase({_IN_VIEW}[1h])) / 60",
        description="Sum over all people of the time each was in view.",
    ),
    stat("Results, last hour", "sum(increase(facestream_annotator_results_total[1h]))"),
    Panel(
        "People in view",
        [Query("sum by (camera) (facestream_annotator_people_in_view)", "{{camera}}")],
        width=24,
    ),
    Panel(
        "People counted, by hour",
        [Query(f"sum by (camera) (increase({_VISITS}[1h]))", "{{camera}}")],
        description="Once per visit. The web UI has exact numbers: Prometheus estimates.",
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
        "Average in view, by hour",
        [Query(f"sum by (camera) (increase({_IN_VIEW}[1h])) / 3600", "{{camera}}")],
        width=12,
    ),
    Panel(
        "Peak in view, by hour",
        [
            Query(
                "max by (camera) (max_over_time(facestream_annotator_people_in_view[1h]))",
                "{{camera}}",
            )
        ],
        width=12,
    ),
]
