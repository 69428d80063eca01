"""Writes the Grafana dashboards: `python -m deploy.grafana.make_dashboards`.

Each has a module of its own beside this one. The JSON files are committed; a test holds them to
these modules, and every query to the metrics that exist.
"""

from __future__ import annotations

import json
from pathlib import Path

from deploy.grafana import audience, camera, overview
from deploy.grafana.panels import dashboard

FOLDER = Path(__file__).resolve().parent / "dashboards"


def dashboards() -> dict[str, str]:
    """File name and content of each."""
    made = {
        "overview": dashboard("overview", "Overview", overview.PANELS, by_camera=False),
        "camera": dashboard("camera", "One camera", camera.PANELS, by_camera=True),
        "audience": dashboard("audience", "Audience", audience.PANELS, by_camera=False),
    }
    return {f"{name}.json": json.dumps(found, indent=1) + "\n" for name, found in made.items()}


def main() -> None:
    """Write them where Grafana's container finds them."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in dashboards().items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    main()
