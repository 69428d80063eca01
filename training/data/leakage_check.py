"""What a network has learnt from before a run: no picture of that may judge it, or calibrate it.

A version to go on from tells in its `model.json` what it has learnt from, all versions before it
included; a teacher is known by the way `distill-targets` makes one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from facestream.common.core.errors import SettingsError
from facestream.common.vision.exported_model import read_model_info

from training.config import VALIDATION_SHARE, TrainConfig
from training.data.utkface import parse_folds

# What every version has learnt from that was published before `model.json` told it.
_UNTOLD_FOLDS = tuple(range(1, 9))


def seen_folds(config: TrainConfig, weights: str | Path | None) -> list[int]:
    """The folds that the network of this run will have learnt from, its ancestors' included.

    Raises:
        ModelError: the `model.json` of the version to go on from is damaged.
    """
    version = _version(weights)
    before = set() if version is None else set(version.get("train_folds", _UNTOLD_FOLDS))
    return sorted(before.union(parse_folds(config.train_folds)))


def check_no_leakage(config: TrainConfig, weights: str | Path | None, *, has_teacher: bool) -> None:
    """See that nobody has learnt before from what this run holds out.

    Raises:
        SettingsError: somebody has.
        ModelError: as `seen_folds`.
    """
    version = _version(weights)
    most = VALIDATION_SHARE if has_teacher else 1.0
    if version is not None:
        most = min(most, version.get("validation_share", VALIDATION_SHARE))
    if config.validation_share > most:
        raise SettingsError(
            f"validation_share {config.validation_share}: its teacher, or the version that it goes "
            f"on from, has held out {most} and learnt from the rest; hold out no more than that"
        )


def _version(weights: str | Path | None) -> Mapping[str, Any] | None:
    """What the version to go on from tells of itself; None where the run goes on from none."""
    if weights is None:
        return None
    folder = Path(weights)  # one that is here no more tells nothing, but was a version by its name
    return read_model_info(folder) if folder.is_dir() or folder.name.isdigit() else None
