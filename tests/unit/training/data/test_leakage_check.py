"""Images of earlier training never evaluate or calibrate a network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from facestream.common.core.errors import SettingsError

from training.config import TrainConfig
from training.data.leakage_check import check_no_leakage, seen_folds


def _config(folds: str = "1-3", share: float = 0.05) -> TrainConfig:
    return TrainConfig.model_validate(
        {
            "train_folds": folds,
            "validation_share": share,
            "fit": {"stages": [{"epochs": 1, "size_px": 64}]},
        }
    )


def _version(folder: Path, **info: Any) -> Path:
    (folder / "model.json").write_text(json.dumps(info))
    return folder


def test_a_run_inherits_the_folds_of_its_initial_version(tmp_path: Path) -> None:
    assert seen_folds(_config(), None) == [1, 2, 3]
    assert seen_folds(_config(), "imagenet") == [1, 2, 3]
    version = _version(tmp_path, train_folds=[2, 9])
    assert seen_folds(_config(), version) == [1, 2, 3, 9]


def test_a_version_without_recorded_folds_counts_as_trained_on_1_to_8(
    tmp_path: Path,
) -> None:
    assert seen_folds(_config("9"), _version(tmp_path)) == [1, 2, 3, 4, 5, 6, 7, 8, 9]


def test_a_larger_held_out_share_than_that_of_the_version_is_rejected(tmp_path: Path) -> None:
    version = _version(tmp_path, validation_share=0.02)
    check_no_leakage(_config(share=0.02), version, has_teacher=False)
    with pytest.raises(SettingsError, match=r"has held out 0\.02"):
        check_no_leakage(_config(share=0.05), version, has_teacher=False)
    check_no_leakage(_config(share=0.05), _version(tmp_path), has_teacher=False)
    with pytest.raises(SettingsError, match=r"has held out 0\.05"):
        check_no_leakage(_config(share=0.06), _version(tmp_path), has_teacher=False)


def test_a_larger_held_out_share_than_that_of_the_teacher_is_rejected() -> None:
    check_no_leakage(_config(share=0.3), None, has_teacher=False)
    with pytest.raises(SettingsError, match=r"has held out 0\.05"):
        check_no_leakage(_config(share=0.3), None, has_teacher=True)


def test_a_deleted_version_still_counts(tmp_path: Path) -> None:
    assert seen_folds(_config("9"), tmp_path / "8") == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert seen_folds(_config("9"), tmp_path / "missing.weights.h5") == [9]
    assert seen_folds(_config("9"), "imagenet") == [9]
