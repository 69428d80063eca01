"""Export trained weights as a frozen SavedModel with warm-up requests, `model.json` and card.

Writes `models/<name>/<version>/` atomically. Freezing folds the variables into constants, so that
TensorFlow runs the graph faster and OpenVINO reads it directly. The export fails unless TensorFlow
and OpenVINO predict the same for the same faces.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from facestream.common.core.errors import ModelError
from facestream.common.vision.exported_model import INFO_FILE, ExportedModel, Predictions
from numpy.typing import NDArray
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from training.config import NetworkConfig
from training.evaluation.calibration import Calibration
from training.model.network import build
from training.publishing import serving_warmup

CARD_FILE = "MODEL_CARD.md"
Describe = Callable[[ExportedModel], tuple[Mapping[str, Any], str]]
# Limits of rounding differences between the runtimes; a larger difference is an error.
_TOLERANCE = {"age": 0.02, "age_std": 0.02, "gender": 1e-3, "age_distribution": 1e-3}
_RANDOM_CROPS = 4


def load_network(config: NetworkConfig, weights: Path, *, size_px: int) -> keras.Model:
    """Load the trained network, which outputs logits, at a fixed input size.

    Raises:
        ModelError: the weights are missing or belong to another network.
    """
    keras.mixed_precision.set_global_policy("float32")
    model = build(config, None, size_px=size_px)
    try:
        model.load_weights(weights)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"{weights}: not the weights of this network: {reason}") from None
    return model


def serving_outputs(
    logits: Mapping[str, tf.Tensor], calibration: Calibration
) -> dict[str, tf.Tensor]:
    """Return the served outputs, computed from the logits of the heads."""
    predictions: dict[str, tf.Tensor] = {}
    if "age" in logits:
        distribution = tf.nn.softmax(logits["age"] / calibration.age_temperature)
        years = tf.range(distribution.shape[-1], dtype=tf.float32)
        expected = tf.reduce_sum(distribution * years, axis=-1, keepdims=True)
        variance = tf.reduce_sum(distribution * tf.square(years - expected), axis=-1)
        predictions |= {
            "age": median(distribution),
            "age_std": tf.sqrt(variance),
            "age_distribution": distribution,
        }
    if "gender" in logits:
        predictions["gender"] = tf.sigmoid(logits["gender"] / calibration.gender_temperature)
    return predictions


def median(distribution: tf.Tensor) -> tf.Tensor:
    """Return the median of `[n, bins]` as TensorFlow operations.

    The same as `facestream.common.vision.age_distribution.quantile` at one half.

    Each year counts by how much of it lies below the half: all, none, or a part.
    """
    before = tf.cumsum(distribution, axis=-1, exclusive=True)
    tiny = np.finfo(np.float32).tiny
    below = tf.clip_by_value((0.5 - before) / tf.maximum(distribution, tiny), 0.0, 1.0)
    return tf.maximum(tf.reduce_sum(below, axis=-1) - 0.5, 0.0)


def freeze(model: keras.Model, calibration: Calibration) -> tf.Module:
    """Return a module without variables, with one method `serve(faces)`."""
    size_px = model.input_shape[1]
    faces = tf.TensorSpec((None, size_px, size_px, 3), tf.uint8, name="faces")

    @tf.function(input_signature=[faces])  # type: ignore[untyped-decorator]
    def outputs(faces: tf.Tensor) -> dict[str, tf.Tensor]:
        return serving_outputs(model(faces, training=False), calibration)

    names = serving_warmup.output_names(tuple(model.output))
    frozen = convert_variables_to_constants_v2(outputs.get_concrete_function())

    @tf.function(input_signature=[faces])  # type: ignore[untyped-decorator]
    def serve(faces: tf.Tensor) -> dict[str, tf.Tensor]:
        # A frozen function returns a flat list in the order of the sorted names.
        flat = tf.nest.flatten(frozen(faces))
        return {name: tf.identity(value, name) for name, value in zip(names, flat, strict=True)}

    module = tf.Module()
    module.serve = serve
    return module


def check_destination(destination: Path) -> None:
    """Check that `models/<name>/<version>` can be created.

    Raises:
        ModelError: it exists, or its last part is no number.
    """
    if not destination.name.isdigit():
        raise ModelError(f"{destination}: the last part must be a version number")
    if destination.exists():
        raise ModelError(f"{destination}: exists already; give a new version number")


def export(
    model: keras.Model,
    destination: Path,
    calibration: Calibration,
    crops: NDArray[np.uint8],
    describe: Describe,
) -> Path:
    """Publish a network as `destination`, which is `models/<name>/<version>`.

    Args:
        model: from `load_network`.
        crops: uint8 `[n, size_px, size_px, 3]`, real faces on which the two runtimes are compared.
        describe: called with the checked model before it is published; returns further fields of
            `model.json` and the text of the model card.

    Returns:
        the folder of the new version.

    Raises:
        ModelError: the version exists, its name is no number, or the two runtimes disagree.
    """
    check_destination(destination)
    heads = tuple(model.output)
    partial = destination.with_name(f".{destination.name}.partial-{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.parent.mkdir(parents=True, exist_ok=True)
    try:
        module = freeze(model, calibration)
        serve = module.serve.get_concrete_function()
        signatures = {"serving_default": serve}
        if len(heads) == 1:
            signatures[heads[0]] = serve
        options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
        tf.saved_model.save(module, str(partial), signatures=signatures, options=options)
        _write_warmup(partial, destination.parent.name, model.input_shape[1])
        difference = _compare_runtimes(partial, crops)
        facts = {
            "name": destination.parent.name,
            "version": int(destination.name),
            "heads": list(heads),
            "input_size_px": model.input_shape[1],
            "margin": 0.0,
            "age_bins": int(model.output["age"].shape[-1]) if "age" in heads else None,
            "calibration": asdict(calibration),
            "tensorflow_openvino_max_difference": difference,
        }
        (partial / INFO_FILE).write_text(json.dumps(facts, indent=2) + "\n")
        info, card = describe(ExportedModel(partial))
        (partial / INFO_FILE).write_text(json.dumps(facts | dict(info), indent=2) + "\n")
        (partial / CARD_FILE).write_text(card)
        try:
            partial.rename(destination)
        except OSError:
            raise ModelError(f"{destination}: exists already; give a new version number") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return destination


def _write_warmup(folder: Path, name: str, size_px: int) -> None:
    path = folder / serving_warmup.FILE
    path.parent.mkdir(parents=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for log in serving_warmup.prediction_logs(name, size_px, "serving_default"):
            writer.write(log)


def _compare_runtimes(folder: Path, crops: NDArray[np.uint8]) -> dict[str, float]:
    """Return the largest difference of each output between TensorFlow and OpenVINO.

    Both load the exported file.

    Raises:
        ModelError: the outputs differ, or a difference exceeds its tolerance.
    """
    size_px = crops.shape[1]
    noise = np.random.default_rng(0).integers(
        0, 256, (_RANDOM_CROPS, size_px, size_px, 3), np.uint8
    )
    faces = np.concatenate([crops, noise])
    loaded = tf.saved_model.load(str(folder)).signatures["serving_default"]
    expected: Predictions = {k: v.numpy() for k, v in loaded(faces=tf.constant(faces)).items()}
    actual = ExportedModel(folder).predict(faces)
    if set(actual) != set(expected):
        raise ModelError(f"OpenVINO outputs {sorted(actual)}, TensorFlow {sorted(expected)}")
    difference = {k: float(np.abs(actual[k] - expected[k]).max()) for k in sorted(expected)}
    wrong = {k: d for k, d in difference.items() if not d <= _TOLERANCE[k]}
    if wrong:
        raise ModelError(f"TensorFlow and OpenVINO disagree, nothing published: {wrong}")
    return difference
