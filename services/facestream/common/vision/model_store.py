"""Where models are and what a version of one is called. Pure, and cheap to import."""

from __future__ import annotations

from pathlib import Path

SAVED_MODEL = "saved_model.pb"  # the file that makes `<model>/<version>/` a version


def versions_of(model: Path) -> dict[int, Path]:
    """The versions in `models/<name>`, by number; none where it is no folder of a model."""
    if not model.is_dir():
        return {}
    return {
        int(inner.name): inner
        for inner in model.iterdir()
        if inner.name.isascii() and inner.name.isdigit() and (inner / SAVED_MODEL).is_file()
    }
