"""The learning rate over a run's stages."""

from __future__ import annotations

from typing import Any

import pytest

from training.config import TrainConfig
from training.fitting.training_loop import _schedule

STEPS = 10


def rates(*stages: dict[str, Any]) -> list[list[float]]:
    """The rate of every step of every stage, as its optimizer sees it."""
    fit = {"learning_rate": 1.0, "warmup_epochs": 1.0, "stages": stages}
    config = TrainConfig.model_validate({"fit": fit})
    found, epoch, before = [], 0, 0
    for i, stage in enumerate(config.fit.stages):
        follows = i > 0 and config.fit.stages[i - 1].learns == stage.learns
        before = before if follows else 0
        schedule = _schedule(config, epoch, stage, STEPS)
        found.append([float(schedule(before + step)) for step in range(stage.epochs * STEPS)])
        epoch, before = epoch + stage.epochs, before + stage.epochs * STEPS
    return found


def test_one_cosine_spans_the_stages_whichever_layers_learn() -> None:
    one = rates({"epochs": 6, "size_px": 64})[0]
    early, late = rates(
        {"epochs": 2, "size_px": 64}, {"epochs": 4, "size_px": 64, "learns": "late"}
    )
    assert early + late == pytest.approx(one)
    assert max(one) == pytest.approx(1.0)
    assert one[-1] < 0.01
