"""Warm start from a published version: load the constants of its frozen graph as weights.

So a served model can be trained longer, or on other images, without the run that made it.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from facestream.common.core.errors import ModelError
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

# In a frozen graph a weight is a constant called …/<layer>_<n>/<operation>/ReadVariableOp/resource;
# the operation identifies the weight within the layer.
_WEIGHT_NAMES = {
    keras.layers.Conv2D: {"convolution": "kernel"},
    keras.layers.DepthwiseConv2D: {"depthwise": "kernel"},
    keras.layers.Dense: {"Cast": "kernel", "BiasAdd": "bias", "Add": "bias"},
    keras.layers.BatchNormalization: {
        "Cast": "moving_mean",
        "Cast_1": "moving_variance",
        "Cast_2": "gamma",
        "Cast_3": "beta",
    },
}
_CONSTANT_END = "/ReadVariableOp/resource"


def load_exported_weights(model: keras.Model, version: Path) -> None:
    """Load the weights of an exported `version` into every layer of `model`.

    Raises:
        ModelError: the version cannot be read, or has another architecture.
    """
    constants = _read_constants(version)
    for layer in flat_layers(model):
        if isinstance(layer, keras.layers.Dropout):
            continue  # its only variable is the state of its random numbers
        weight_names = _WEIGHT_NAMES.get(type(layer), {})
        values = {
            weight_names[operation]: value
            for operation, value in constants.get(layer.name, {}).items()
            if operation in weight_names
        }
        for variable in layer.weights:
            value = values.get(variable.name)
            if value is None or value.shape != tuple(variable.shape):
                raise ModelError(
                    f"{version}: has no {variable.path} {tuple(variable.shape)}: another network; "
                    "give the settings it was trained with"
                )
            variable.assign(value)


def flat_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """Return all layers, with nested models replaced by their layers."""
    found = []
    for layer in model.layers:
        found += flat_layers(layer) if isinstance(layer, keras.Model) else [layer]
    return found


def _read_constants(version: Path) -> dict[str, dict[str, NDArray[np.float32]]]:
    """Return the frozen weights by layer and operation."""
    path, saved = version / "saved_model.pb", SavedModel()
    try:
        saved.ParseFromString(path.read_bytes())
        functions = saved.meta_graphs[0].graph_def.library.function
    except (OSError, IndexError, DecodeError) as error:
        raise ModelError(f"{path}: no exported model: {type(error).__name__}") from None
    found: dict[str, dict[str, NDArray[np.float32]]] = defaultdict(dict)
    for node in (node for function in functions for node in function.node_def):
        if node.op == "Const" and node.name.endswith(_CONSTANT_END):
            layer, operation = node.name.removesuffix(_CONSTANT_END).split("/")[-2:]
            value = tf.make_ndarray(node.attr["value"].tensor)
            found[layer.rpartition("_")[0]][operation] = value
    return found
