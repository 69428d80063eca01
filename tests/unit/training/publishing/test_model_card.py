"""The model card, of the record that the served version left."""

from __future__ import annotations

import json
from typing import Any

import pytest
from facestream.common.core.paths import CHECKOUT

from training.publishing.model_card import model_card

RECORD = CHECKOUT / "training" / "records" / "age_gender_9"


def _card(**facts: Any) -> str:
    kept, judged, harms = (
        json.loads((RECORD / f"{name}.json").read_text())
        for name in ("record", "evaluation", "robustness")
    )
    calibration = {key: kept["calibration"][key] for key in kept["calibration"] if "temp" in key}
    # What records told only later.
    kept = {**kept, "train_folds": list(range(1, 9)), **facts}
    return model_card(kept, judged, calibration, [{"faces": 300, **row} for row in harms])


def test_the_served_versions_card_is_that_of_its_record() -> None:
    assert (CHECKOUT / "models" / "age_gender" / "9" / "MODEL_CARD.md").read_text() == _card()


def test_it_says_of_how_many_faces_the_table_of_harms_is() -> None:
    assert "\n300 of these faces, harmed" in _card()


@pytest.mark.parametrize(
    ("first", "said"),
    [
        (None, "random"),
        ("imagenet", "ImageNet's"),
        ("/home/me/models/age_gender/8", "those of `age_gender/8`"),
        ("runs/mobilenet.weights.h5", "those of `runs/mobilenet.weights.h5`"),
    ],
)
def test_it_says_with_what_weights_the_run_began(first: str | None, said: str) -> None:
    assert f"The initial weights are {said}.\n" in _card(first_weights=first)
