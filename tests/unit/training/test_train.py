"""Identity of the run in a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from facestream.common.core.errors import SettingsError

from training import run_record
from training.config import TrainConfig
from training.data.utkface import DataReport, LabeledImage
from training.distillation.teacher_targets import TeacherTargets, save
from training.train import _load_teacher_targets, _lock_run_dir

CONFIG = TrainConfig.model_validate({"fit": {"stages": [{"epochs": 1, "size_px": 64}]}})


def test_a_run_resumes_only_with_the_same_inputs(tmp_path: Path) -> None:
    run, teacher, other = tmp_path / "run", tmp_path / "teacher", tmp_path / "other"
    run.mkdir()
    teacher.write_bytes(b"one")
    other.write_bytes(b"another")
    report = DataReport(digest="d")
    _lock_run_dir(run, CONFIG, report, "models/age_gender/5", teacher)
    _lock_run_dir(run, CONFIG, report, "models/age_gender/5", teacher)  # the same inputs: resumes
    assert run_record.read(run)["train_folds"] == [1, 2, 3, 4, 5, 6, 7, 8]
    with pytest.raises(SettingsError, match="another first weights: models/age_gender/5"):
        _lock_run_dir(run, CONFIG, report, "imagenet", teacher)
    for wrong in (other, None):
        with pytest.raises(SettingsError, match="another teacher"):
            _lock_run_dir(run, CONFIG, report, "models/age_gender/5", wrong)
    with pytest.raises(SettingsError, match="other settings"):
        _lock_run_dir(
            run, CONFIG.model_copy(update={"seed": 2}), report, "models/age_gender/5", teacher
        )


def test_a_teacher_with_other_age_bins_is_rejected(tmp_path: Path) -> None:
    images = [LabeledImage("1.jpg", f"{1:08x}{0:024x}", 20, 0, 0, b"")]
    ages = np.full((1, 121), 1 / 121, np.float32)
    save(tmp_path / "t.npz", TeacherTargets(ages, ages[:, 0], ages[:, :4]), images)
    with pytest.raises(SettingsError, match=r"max_age 110: the teacher covers the ages 0 to 120"):
        _load_teacher_targets(CONFIG, tmp_path / "t.npz", images)
