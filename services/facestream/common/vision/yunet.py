"""YuNet's network, compiled by OpenVINO for one input size, with its twelve heads joined.

The ONNX file has four heads (class, objectness, box, landmarks) at each of three strides. Each head
is a 1×1 and a 3×3 convolution with one to ten channels. OpenVINO is slow with convolutions of few
channels: the heads took 2.3 of 10.4 ms. Concatenated, they are one layer of 16 channels per stride,
with the same weights and the same sums, and take 0.4 ms. The input is float32 with channels last,
as the first layer needs it: OpenVINO converts uint8 in three passes, 0.5 ms.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facestream.common.core.errors import ModelError
from facestream.common.vision.openvino_precision import precision_hint
from facestream.common.vision.openvino_runtime import ops, ov

STRIDES = (8, 16, 32)
_KINDS = ("cls", "obj", "bbox", "kps")  # 1, 1, 4 and 10 channels
_SCORE_CHANNELS, _OFFSET_CHANNELS = 2, 14
_OUTPUTS = frozenset(f"{kind}_{stride}" for kind in _KINDS for stride in STRIDES)
_GRAPH_ERRORS = (AttributeError, KeyError, ValueError, RuntimeError)  # the graph is not YuNet's


def compile_yunet(path: Path, width: int, height: int, precision: str = "auto") -> ov.CompiledModel:
    """Compile the network for images of `width` × `height`, one thread and this precision.

    Input: BGR, float32 0-255 `[1, height, width, 3]`. Both outputs have one row per cell of the
    three grids, in the order of `STRIDES`, each grid row by row. The first holds class and
    objectness in 0-1, float32 `[1, n, 2]`. The second holds the offsets of the box (4) and of the
    landmarks (10), float32 `[1, n, 14]`.

    Raises:
        ModelError: the file is missing, damaged or not YuNet.
    """
    if not path.is_file():
        raise ModelError(f"face detector model not found: {path}")
    core = ov.Core()
    try:
        model = core.read_model(path)
    except RuntimeError:  # OpenVINO's own text is long and quotes its source files
        raise _damaged(path) from None
    heads = {name: port for port in model.outputs for name in port.get_names()}
    if not heads.keys() >= _OUTPUTS:
        raise _not_yunet(path)
    try:
        joined = _with_joined_heads(model, heads)
    except _GRAPH_ERRORS:
        raise _not_yunet(path) from None
    try:
        joined.reshape([1, 3, height, width])
        steps = ov.preprocess.PrePostProcessor(joined)
        steps.input().tensor().set_element_type(ov.Type.f32).set_layout(ov.Layout("NHWC"))
        steps.input().model().set_layout(ov.Layout("NCHW"))
        options = {
            "INFERENCE_NUM_THREADS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": precision_hint(core, precision),
        }
        return core.compile_model(steps.build(), "CPU", options)
    except RuntimeError:
        raise _damaged(path) from None


def _with_joined_heads(model: ov.Model, heads: dict[str, ov.Output]) -> ov.Model:
    rows = []
    for stride in STRIDES:
        layers = [_layers(heads[f"{kind}_{stride}"]) for kind in _KINDS]
        pointwise = [layer[0] for layer in layers]
        depthwise = [layer[1] for layer in layers]
        source = pointwise[0].source
        weights = np.concatenate([layer.weights for layer in pointwise])
        joined = ops.convolution(source, weights, [1, 1], [0, 0], [0, 0], [1, 1])
        joined = ops.add(joined, _bias(pointwise))
        # One filter per channel: [channels, 1, 1, 3, 3].
        filters = np.concatenate([layer.weights.reshape(-1, 1, 1, 3, 3) for layer in depthwise])
        joined = ops.group_convolution(joined, filters, [1, 1], [1, 1], [1, 1], [1, 1])
        joined = ops.add(joined, _bias(depthwise))
        joined = ops.transpose(joined, [0, 2, 3, 1])
        rows.append(ops.reshape(joined, [1, -1, _SCORE_CHANNELS + _OFFSET_CHANNELS], False))
    parts = ops.variadic_split(ops.concat(rows, 1), 2, [_SCORE_CHANNELS, _OFFSET_CHANNELS])
    outputs = [ops.sigmoid(parts.output(0)).output(0), parts.output(1)]
    return ov.Model(outputs, model.get_parameters())


class _Layer:
    """A convolution and its bias, given the output of the addition that applies the bias."""

    def __init__(self, end: ov.Output) -> None:
        convolution = end.get_node().input_value(0).get_node()
        self.source = convolution.input_value(0)
        self.weights = _constant(convolution.input_value(1))
        self.bias = _constant(end.get_node().input_value(1)).reshape(-1)


def _layers(head: ov.Output) -> tuple[_Layer, _Layer]:
    """Return the two convolutions of a head: pointwise 1×1, then depthwise 3×3."""
    end = head.get_node().input_value(0)
    while end.get_node().get_type_name() != "Add":  # skip reshapes and the sigmoid of scores
        end = end.get_node().input_value(0)
    depthwise = _Layer(end)
    return _Layer(depthwise.source), depthwise


def _bias(layers: list[_Layer]) -> NDArray[np.float32]:
    return np.concatenate([layer.bias for layer in layers]).reshape(1, -1, 1, 1)


def _constant(port: ov.Output) -> NDArray[np.float32]:
    """Return the constant behind a port; skip the nodes that reshape it."""
    node = port.get_node()
    while node.get_type_name() != "Constant":
        node = node.input_value(0).get_node()
    values: NDArray[np.float32] = node.data
    return values


def _damaged(path: Path) -> ModelError:
    return ModelError(
        f"face detector {path}: damaged or not an ONNX model; compare with SHA256SUMS in its folder"
    )


def _not_yunet(path: Path) -> ModelError:
    return ModelError(f"face detector {path}: not YuNet; restore the original file")
