"""The settings of a training run: a YAML file in, a frozen, checked `TrainConfig` out."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from facestream.common.core.config_files import read_yaml
from facestream.common.core.errors import SettingsError
from facestream.common.security.redaction import validation_message
from pydantic import BaseModel, ConfigDict, Field, ValidationError

Head = Literal["age", "gender"]
VALIDATION_SHARE = 0.05


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NetworkConfig(_Frozen):
    """What is built."""

    heads: tuple[Head, ...] = Field(("age", "gender"), min_length=1)
    size_px: int = Field(160, ge=64, le=256, description="side of the input crop, a multiple of 32")
    alpha: float = Field(1.0, gt=0, le=1.4, description="MobileNetV2's width multiplier")
    dense_units: int = Field(256, ge=8, description="width of the added dense layer")
    dropout: float = Field(0.3, ge=0, lt=1)
    max_age: int = Field(110, ge=100, description="the last of the age bins 0, 1, …")


class LossConfig(_Frozen):
    """How an answer is judged while it learns."""

    age_distribution: float = Field(
        1.0, description="weight of the cross-entropy to the soft label"
    )
    age_expectation: float = Field(0.2, description="weight of |expected age − age|, per year")
    gender: float = Field(1.5, description="weight of the gender cross-entropy")
    label_sigma_base: float = Field(0.8, description="soft label's width at birth, years")
    label_sigma_per_year: float = Field(0.05, description="its growth per year of age")
    label_sigma_max: float = Field(3.5, description="its upper bound, years")
    gender_smoothing: float = Field(0.05, ge=0, lt=0.5)
    embedding: float = Field(
        1.0, ge=0, description="weight of the distance to the teacher's embedding, if there is one"
    )
    rare_age_power: float = Field(
        0.25, ge=0, le=1, description="weight of an age is (1 / its frequency) to this power"
    )


class Stage(_Frozen):
    """A run of epochs at one crop size; small crops first cost less and teach as well."""

    epochs: int = Field(ge=1)
    size_px: int = Field(ge=64, le=256)
    learns: Literal["all", "late", "added"] = Field(
        "all", description="every layer, those from an eighth of the size on, or the added ones"
    )
    calm: bool = Field(
        False, description="for the last epochs: faces are harmed seldom, and do not blend"
    )


class FitConfig(_Frozen):
    """How it learns."""

    stages: tuple[Stage, ...] = Field(min_length=1)
    batch: int = Field(32, ge=1)
    learning_rate: float = Field(
        8e-4, gt=0, description="at its peak; cosine to zero after warm-up"
    )
    warmup_epochs: float = Field(
        1.0, ge=0, description="counted from the first stage in which the backbone learns"
    )
    weight_decay: float = Field(0.02, ge=0)
    clip_norm: float = Field(5.0, gt=0)
    ema: float = Field(0.999, ge=0, lt=1, description="momentum of the weights' moving average")
    first_share: float = Field(
        0.0, ge=0, lt=1, description="of the first weights in the final ones, which are their mean"
    )
    mixup: float = Field(
        0.0, ge=0, description="faces blend in pairs, by shares of Beta(mixup, mixup); 0: none do"
    )
    mixed_precision: bool = Field(False, description="float16 on a GPU that gains by it")
    early_stop_epochs: int = Field(0, ge=0, description="stop after so many without gain; 0: never")


class TrainConfig(_Frozen):
    """One run, whole: the same file, data, teacher and seed give the same network."""

    name: str = Field("age_gender", pattern=r"^[a-z][a-z0-9_]*$")
    seed: int = 1
    train_folds: str = "1-8"
    validation_share: float = Field(
        VALIDATION_SHARE, gt=0, lt=0.5, description="of the training folds, split off by content"
    )
    teacher_share: float | None = Field(
        None, ge=0, le=1, description="of its word in the targets, beside the labels; null: none"
    )
    teacher_ages: tuple[float, float] | None = Field(
        None, description="years; below the first it has no word, its share grows up to the second"
    )
    network: NetworkConfig = NetworkConfig()
    loss: LossConfig = LossConfig()
    fit: FitConfig


def load_config(path: Path) -> TrainConfig:
    """Read and check a run's settings.

    Raises:
        SettingsError: the file cannot be read, or a key or value is wrong; names it.
    """
    try:
        return TrainConfig.model_validate(read_yaml(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"{path}: {where or 'file'}: {validation_message(first)}") from None
