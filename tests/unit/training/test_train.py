"""What a run's folder remembers of the run that it holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.common.errors import SettingsError
from training.config import TrainConfig
from training.dataset import DataReport
from training.train import _claim

CONFIG = TrainConfig.model_validate({"fit": {"stages": [{"epochs": 1, "size_px": 64}]}})


def test_a_run_goes_on_only_from_what_it_began_with(tmp_path: Path) -> None:
    run, teacher, other = tmp_path / "run", tmp_path / "teacher", tmp_path / "other"
    run.mkdir()
    teacher.write_bytes(b"one")
    other.write_bytes(b"another")
    report = DataReport(digest="d")
    _claim(run, CONFIG, report, "models/age_gender/5", teacher)
    _claim(run, CONFIG, report, "models/age_gender/5", teacher)  # the same: it goes on
    with pytest.raises(SettingsError, match="another first weights: models/age_gender/5"):
        _claim(run, CONFIG, report, "imagenet", teacher)
    for wrong in (other, None):
        with pytest.raises(SettingsError, match="another teacher"):
            _claim(run, CONFIG, report, "models/age_gender/5", wrong)
    with pytest.raises(SettingsError, match="other settings"):
        _claim(run, CONFIG.model_copy(update={"seed": 2}), report, "models/age_gender/5", teacher)
