"""Configuration of a training run: a YAML file, validated into a frozen `TrainConfig`.

Field names are part of the file format and of every `record.json`.
"""

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
    """Architecture of the network."""

    heads: tuple[Head, ...] = Field(("age", "gender"), min_length=1)
    size_px: int = Field(160, ge=64, le=256, description="side of the input crop, a multiple of 32")
    alpha: float = Field(1.0, gt=0, le=1.4, description="MobileNetV2's width multiplier")
    dense_units: int = Field(256, ge=8, description="width of the added dense layer")
    dropout: float = Field(0.3, ge=0, lt=1)
    max_age: int = Field(110, ge=100, description="last of the age bins 0, 1, …")


class LossConfig(_Frozen):
    """Weights and label smoothing of the losses."""

    age_distribution: float = Field(
        1.0, description="weight of the cross-entropy to the soft label"
    )
    age_expectation: float = Field(0.2, description="weight of |expected age − age|, per year")
    gender: float = Field(1.5, description="weight of the gender cross-entropy")
    label_sigma_base: float = Field(0.8, description="deviation of the soft label at age 0, years")
    label_sigma_per_year: float = Field(
        0.05, description="growth of that deviation per year of age"
    )
    label_sigma_max: float = Field(3.5, description="upper bound of that deviation, years")
    gender_smoothing: float = Field(0.05, ge=0, lt=0.5)
    embedding: float = Field(
        1.0, ge=0, description="weight of the distance to the teacher's embedding; needs a teacher"
    )
    rare_age_power: float = Field(
        0.25, ge=0, le=1, description="a face weighs (1 / frequency of its age) to this power"
    )


class Stage(_Frozen):
    """Epochs at one crop size; small crops in the first stages cost less at equal accuracy."""

    epochs: int = Field(ge=1)
    size_px: int = Field(ge=64, le=256)
    learns: Literal["all", "late", "added"] = Field(
        "all",
        description="trainable layers: all, late (from 1/8 of the input size on) or added (the "
        "layers after the backbone)",
    )
    calm: bool = Field(
        False, description="light augmentation without mixup, meant for the last epochs"
    )


class FitConfig(_Frozen):
    """Optimizer, schedule and regularization."""

    stages: tuple[Stage, ...] = Field(min_length=1)
    batch: int = Field(32, ge=1)
    learning_rate: float = Field(
        8e-4, gt=0, description="peak after warm-up; then cosine decay to zero"
    )
    warmup_epochs: float = Field(
        1.0, ge=0, description="counted from the first stage that trains the backbone"
    )
    weight_decay: float = Field(0.02, ge=0)
    clip_norm: float = Field(5.0, gt=0)
    ema: float = Field(
        0.999, ge=0, lt=1, description="momentum of the moving average of the weights"
    )
    first_share: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of the initial weights when they are averaged with the trained ones",
    )
    mixup: float = Field(
        0.0, ge=0, description="pairs of faces are mixed by Beta(mixup, mixup); 0 disables mixup"
    )
    mixed_precision: bool = Field(False, description="float16 on a GPU that supports it")
    early_stop_epochs: int = Field(0, ge=0, description="epochs without improvement; 0: never")


class TrainConfig(_Frozen):
    """Configuration of one run; the same file, data, teacher and seed give the same weights."""

    name: str = Field("age_gender", pattern=r"^[a-z][a-z0-9_]*$")
    seed: int = 1
    train_folds: str = "1-8"
    validation_share: float = Field(
        VALIDATION_SHARE,
        gt=0,
        lt=0.5,
        description="share of the training folds held out, split by content",
    )
    teacher_share: float | None = Field(
        None, ge=0, le=1, description="share of the teacher in the targets; null: no teacher"
    )
    teacher_ages: tuple[float, float] | None = Field(
        None,
        description="years; the teacher's share is 0 up to the first and full from the second on",
    )
    network: NetworkConfig = NetworkConfig()
    loss: LossConfig = LossConfig()
    fit: FitConfig


def load_config(path: Path) -> TrainConfig:
    """Read and validate the configuration of a run.

    Raises:
        SettingsError: the file cannot be read, or a key or value is invalid; names the key.
    """
    try:
        return TrainConfig.model_validate(read_yaml(path))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"{path}: {key or 'file'}: {validation_message(first)}") from None
