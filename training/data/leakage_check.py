"""Data-leakage check: no image that a network was trained on may evaluate or calibrate it.

The `model.json` of an exported version lists its training folds, including those of the versions
before it. A teacher made by `distill-targets` leaves out the held-out share.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from facestream.common.core.errors import SettingsError
from facestream.common.vision.exported_model import read_model_info

from training.config import VALIDATION_SHARE, TrainConfig
from training.data.utkface import parse_folds

# Training folds of every version that was published before `model.json` recorded them.
_UNRECORDED_FOLDS = tuple(range(1, 9))


def seen_folds(config: TrainConfig, weights: str | Path | None) -> list[int]:
    """Return the training folds of this run and of all versions that it continues from.

    Raises:
        ModelError: the `model.json` of the version to continue from is damaged.
    """
    version = _read_version_info(weights)
    before = set() if version is None else set(version.get("train_folds", _UNRECORDED_FOLDS))
    return sorted(before.union(parse_folds(config.train_folds)))


def check_no_leakage(config: TrainConfig, weights: str | Path | None, *, has_teacher: bool) -> None:
    """Check that neither the teacher nor an earlier version was trained on the held-out share.

    Raises:
        SettingsError: `validation_share` exceeds the share that they held out.
        ModelError: as `seen_folds`.
    """
    version = _read_version_info(weights)
    largest = VALIDATION_SHARE if has_teacher else 1.0
    if version is not None:
        largest = min(largest, version.get("validation_share", VALIDATION_SHARE))
    if config.validation_share > largest:
        raise SettingsError(
            f"validation_share {config.validation_share}: the teacher or the version to continue "
            f"from has held out {largest} and was trained on the rest; set at most {largest}"
        )


def _read_version_info(weights: str | Path | None) -> Mapping[str, Any] | None:
    """Return the `model.json` of the version to continue from; None without a version."""
    if weights is None:
        return None
    folder = Path(weights)  # a deleted folder still counts as a version if its name is a number
    return read_model_info(folder) if folder.is_dir() or folder.name.isdigit() else None
