"""What has been learnt before neither judges nor calibrates."""

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


def test_what_a_version_has_learnt_counts_for_those_that_go_on_from_it(tmp_path: Path) -> None:
    assert seen_folds(_config(), None) == [1, 2, 3]
    assert seen_folds(_config(), "imagenet") == [1, 2, 3]
    version = _version(tmp_path, train_folds=[2, 9])
    assert seen_folds(_config(), version) == [1, 2, 3, 9]


def test_a_version_that_does_not_tell_is_one_of_those_that_learnt_from_1_to_8(
    tmp_path: Path,
) -> None:
    assert seen_folds(_config("9"), _version(tmp_path)) == [1, 2, 3, 4, 5, 6, 7, 8, 9]


def test_no_more_is_held_out_than_a_version_has_held_out_before(tmp_path: Path) -> None:
    version = _version(tmp_path, validation_share=0.02)
    check_no_leakage(_config(share=0.02), version, has_teacher=False)
    with pytest.raises(SettingsError, match=r"has held out 0\.02"):
        check_no_leakage(_config(share=0.05), version, has_teacher=False)
    check_no_leakage(_config(share=0.05), _version(tmp_path), has_teacher=False)
    with pytest.raises(SettingsError, match=r"has held out 0\.05"):
        check_no_leakage(_config(share=0.06), _version(tmp_path), has_teacher=False)


def test_no_more_is_held_out_than_a_teacher_was_kept_from() -> None:
    check_no_leakage(_config(share=0.3), None, has_teacher=False)
    with pytest.raises(SettingsError, match=r"has held out 0\.05"):
        check_no_leakage(_config(share=0.3), None, has_teacher=True)


def test_a_version_that_is_here_no_more_is_still_one(tmp_path: Path) -> None:
    assert seen_folds(_config("9"), tmp_path / "8") == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert seen_folds(_config("9"), tmp_path / "missing.weights.h5") == [9]
    assert seen_folds(_config("9"), "imagenet") == [9]
