"""Folders of exported models: `models/<name>/<version>/`. Imports no inference runtime."""

from __future__ import annotations

from pathlib import Path

from facestream.common.core.errors import ModelError

SAVED_MODEL = "saved_model.pb"  # a folder with this file is a version


def versions_of(model: Path) -> dict[int, Path]:
    """Return the versions in `models/<name>` by number; empty if that is not a model's folder."""
    if not model.is_dir():
        return {}
    return {
        int(folder.name): folder
        for folder in model.iterdir()
        if folder.name.isascii() and folder.name.isdigit() and (folder / SAVED_MODEL).is_file()
    }


def newest_version(model: Path) -> Path:
    """Return the folder of the newest version; `model` is `models/<name>` or a version's folder.

    Raises:
        ModelError: the folder has no SavedModel, or cannot be read.
    """
    if (model / SAVED_MODEL).is_file():
        return model
    try:
        versions = versions_of(model)
    except OSError as error:
        raise ModelError(f"{model}: {error.strerror}") from None
    if not versions:
        raise ModelError(
            f"{model}: no exported model here; pass models/<name> or one of its versions"
        )
    return versions[max(versions)]
