"""Where models are and what a version of one is called. Pure, and cheap to import."""

from __future__ import annotations

from pathlib import Path

from facestream.common.core.errors import ModelError

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


def newest_version(model: Path) -> Path:
    """The folder of the newest version under `models/<name>`, or the version's folder itself.

    Raises:
        ModelError: there is no SavedModel, or the folder cannot be read.
    """
    if (model / SAVED_MODEL).is_file():
        return model
    try:
        versions = versions_of(model)
    except OSError as error:
        raise ModelError(f"{model}: {error.strerror}") from None
    if not versions:
        raise ModelError(
            f"{model}: no exported model here; give models/<name> or one version of it"
        )
    return versions[max(versions)]
