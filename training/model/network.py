"""The network: uint8 face crops in, age distribution and gender logit out.

`keras.applications.MobileNetV2` with an added dense layer and one or two heads. Preprocessing
(ImageNet mean and deviation) is part of the graph, so a crop of bytes is all that it ever needs.
Age is a softmax over whole years: R. Rothe, R. Timofte, L. Van Gool, "Deep expectation of real and
apparent age from a single image without facial landmarks", IJCV 126, 2018. It learns by the
expectation Σ i · p_i too (`losses.py`); what is served as the age is the median (`export.py`).
"""

from __future__ import annotations

from pathlib import Path

import keras
from facestream.common.core.errors import ModelError
from keras import layers

from training.config import NetworkConfig
from training.model.warm_start import layers_of, load_exported_weights

BACKBONE = "mobilenetv2"
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


@keras.saving.register_keras_serializable("facestream")
class Normalise(layers.Layer):
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
    """The network as it learns: outputs are logits, `age` `[n, max_age + 1]` and `gender` `[n]`.

    Args:
        weights: `"imagenet"` (downloaded by Keras), a local weights file without top, the folder of
            an exported version to go on from, or None.
        size_px: fixes the input's side; None lets it vary, as the training stages do.

    Raises:
        ModelError: the weights cannot be had, or are of another network.
    """
    faces = keras.Input((size_px, size_px, 3), dtype="uint8", name="faces")
    version = Path(weights) if weights is not None and Path(weights).is_dir() else None
    backbone = _backbone(config, None if version else weights, size_px)
    x = backbone(Normalise(name="normalise")(faces))
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


def _backbone(
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


def with_embedding(model: keras.Model, dimensions: int) -> keras.Model:
    """The same layers, and one more output, while it learns: `embedding` `[n, dimensions]`.

    To foretell it the backbone must see what the teacher sees; the published network is without.
    """
    features = model.get_layer("dropout_features").input
    embedding = layers.Dense(dimensions, dtype="float32", name="embedding")(features)
    outputs = {**model.output, "embedding": embedding}
    return keras.Model(model.input, outputs, name=f"{model.name}_embedding")


def average_weights(model: keras.Model, first: keras.Model, share: float) -> None:
    """Make every weight of `model` a mean, to which that of `first` counts for `share`, 0–1.

    What a network was, and what it became by learning further, are both right more often in their
    middle: M. Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022.
    """
    pairs = zip(layers_of(model), layers_of(first), strict=True)
    for layer, before in ((now, then) for now, then in pairs if now.count_params()):
        layer.set_weights(
            [
                (1 - share) * new + share * old
                for new, old in zip(layer.get_weights(), before.get_weights(), strict=True)
            ]
        )
