"""Model card of the served version, generated from its record."""

from __future__ import annotations

import json
from typing import Any

import pytest
from facestream.common.core.paths import CHECKOUT

from training.publishing.model_card import model_card

RECORD = CHECKOUT / "training" / "records" / "age_gender_9"


def _card(**facts: Any) -> str:
    record, evaluation, corruptions = (
        json.loads((RECORD / f"{name}.json").read_text())
        for name in ("record", "evaluation", "robustness")
    )
    calibration = {
        key: record["calibration"][key] for key in record["calibration"] if "temp" in key
    }
    # Older records have no train_folds.
    record = {**record, "train_folds": list(range(1, 9)), **facts}
    return model_card(
        record, evaluation, calibration, [{"faces": 300, **row} for row in corruptions]
    )


def test_the_served_versions_card_is_that_of_its_record() -> None:
    assert (CHECKOUT / "models" / "age_gender" / "9" / "MODEL_CARD.md").read_text() == _card()


def test_the_card_states_the_number_of_corrupted_faces() -> None:
    assert "\n300 of these faces, corrupted" in _card()


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        (None, "random"),
        ("imagenet", "ImageNet's"),
        ("/home/me/models/age_gender/8", "those of `age_gender/8`"),
        ("runs/mobilenet.weights.h5", "those of `runs/mobilenet.weights.h5`"),
    ],
)
def test_the_card_names_the_initial_weights(first: str | None, expected: str) -> None:
    assert f"The initial weights are {expected}.\n" in _card(first_weights=first)
