"""The network: uint8 face crops in, age distribution and gender logit out.

`keras.applications.MobileNetV2` with an added dense layer and one or two heads. Preprocessing
(ImageNet mean and deviation) is part of the graph, so the input is a plain uint8 crop.
Age is a softmax over whole years: R. Rothe, R. Timofte, L. Van Gool, "Deep expectation of real and
apparent age from a single image without facial landmarks", IJCV 126, 2018. The loss includes the
expectation Σ i · p_i (`losses.py`); the served age is the median (`export.py`).
"""

from __future__ import annotations

from pathlib import Path

import keras
from facestream.common.core.errors import ModelError
from keras import layers

from training.config import NetworkConfig
from training.model.warm_start import flat_layers, load_exported_weights

BACKBONE = "mobilenetv2"
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


@keras.saving.register_keras_serializable("facestream")
class Normalize(layers.Layer):
    """uint8 RGB 0–255 to ImageNet's zero mean and unit deviation, float."""

    def call(self, faces: keras.KerasTensor) -> keras.KerasTensor:
        """Return the normalized faces."""
        mean = keras.ops.convert_to_tensor([255 * m for m in _IMAGENET_MEAN], "float32")
        scale = keras.ops.convert_to_tensor([1 / (255 * s) for s in _IMAGENET_STD], "float32")
        return (keras.ops.cast(faces, "float32") - mean) * scale

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the input shape: normalization does not change it."""
        return input_shape


def build(
    config: NetworkConfig, weights: str | Path | None, *, size_px: int | None = None
) -> keras.Model:
    """Build the network for training: logits `age` `[n, max_age + 1]` and `gender` `[n]`.

    Args:
        config: architecture.
        weights: `"imagenet"` (downloaded by Keras), a local weights file without top, the folder of
            an exported version to continue from, or None.
        size_px: fixed side of the input; None for the varying sizes of the training stages.

    Raises:
        ModelError: the weights cannot be loaded, or belong to another network.
    """
    faces = keras.Input((size_px, size_px, 3), dtype="uint8", name="faces")
    version = Path(weights) if weights is not None and Path(weights).is_dir() else None
    backbone = _build_backbone(config, None if version else weights, size_px)
    x = backbone(Normalize(name="normalise")(faces))
    x = layers.Dropout(config.dropout, name="dropout_features")(x)
    x = layers.Dense(config.dense_units, activation="silu", name="dense")(x)
    x = layers.Dropout(config.dropout, name="dropout_dense")(x)
    outputs = {}
    if "age" in config.heads:
        outputs["age"] = layers.Dense(config.max_age + 1, dtype="float32", name="age_logits")(x)
    if "gender" in config.heads:
        logit = layers.Dense(1, dtype="float32", name="gender_logit")(x)
        outputs["gender"] = layers.Reshape((), name="gender_flat")(logit)
    model = keras.Model(faces, outputs, name="_".join(config.heads))
    if version:
        load_exported_weights(model, version)
    return model


def _build_backbone(
    config: NetworkConfig, weights: str | Path | None, size_px: int | None
) -> keras.Model:
    imagenet = str(weights) == "imagenet"
    local = None if weights is None or imagenet else Path(weights)
    if local and not local.is_file():
        raise ModelError(f"{local}: no weights here: neither a file nor a version's folder")
    try:
        backbone = keras.applications.MobileNetV2(
            include_top=False,
            weights="imagenet" if imagenet else None,
            input_shape=(size_px, size_px, 3),
            alpha=config.alpha,
            pooling="avg",
            name=BACKBONE,
        )
        if local:
            backbone.load_weights(local)
    except Exception as error:  # Keras raises a bare one where a download fails
        reason = " ".join(str(error).split())
        raise ModelError(f"{weights}: no weights for the backbone: {reason}") from None
    return backbone


def add_embedding_head(model: keras.Model, dimensions: int) -> keras.Model:
    """Return a model of the same layers with an auxiliary output `embedding` `[n, dimensions]`.

    It regresses the teacher's embedding during training; the export leaves it out.
    """
    features = model.get_layer("dropout_features").input
    embedding = layers.Dense(dimensions, dtype="float32", name="embedding")(features)
    outputs = {**model.output, "embedding": embedding}
    return keras.Model(model.input, outputs, name=f"{model.name}_embedding")


def average_weights(model: keras.Model, first: keras.Model, share: float) -> None:
    """Average the weights of `model` with those of `first`, at weight `share`, 0–1, of `first`.

    The mean of initial and fine-tuned weights is more accurate than either: M. Wortsman et al.,
    "Robust fine-tuning of zero-shot models", CVPR 2022.
    """
    pairs = zip(flat_layers(model), flat_layers(first), strict=True)
    for layer, before in ((now, then) for now, then in pairs if now.count_params()):
        layer.set_weights(
            [
                (1 - share) * new + share * old
                for new, old in zip(layer.get_weights(), before.get_weights(), strict=True)
            ]
        )
