"""Generate the Grafana dashboards: `python -m deploy.grafana.make_dashboards`.

Each dashboard is one module in this folder. The JSON files are committed. A test compares them with
the modules and checks that every queried metric exists.
"""

from __future__ import annotations

import json
from pathlib import Path

from deploy.grafana import audience, camera, overview
from deploy.grafana.panels import dashboard

FOLDER = Path(__file__).resolve().parent / "dashboards"


def dashboards() -> dict[str, str]:
    """Return the content of each dashboard by file name."""
    built = {
        "overview": dashboard("overview", "Overview", overview.PANELS, by_camera=False),
        "camera": dashboard("camera", "Camera", camera.PANELS, by_camera=True),
        "audience": dashboard("audience", "Audience", audience.PANELS, by_camera=False),
    }
    return {f"{name}.json": json.dumps(content, indent=1) + "\n" for name, content in built.items()}


def main() -> None:
    """Write the dashboards into the folder that Grafana's container mounts."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in dashboards().items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    main()
