"""YuNet's network, compiled by OpenVINO for one input size, with its twelve heads joined.

The file holds four heads (class, objectness, box, landmarks) at each of three strides, each a 1×1
and a 3×3 convolution of its own with one to ten channels. OpenVINO runs convolutions of so few
channels badly: they took 2.3 of 10.4 ms. Put side by side they are one layer of 16 channels at each
stride, with the same weights and the same sums, and take 0.4 ms. The input is float32 with the
channels last, as the first layer wants it: of bytes OpenVINO makes that in three passes, 0.5 ms.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as ops

from facestream.common.core.errors import ModelError
from facestream.common.vision.openvino_precision import precision_hint

STRIDES = (8, 16, 32)
_KINDS = ("cls", "obj", "bbox", "kps")  # 1, 1, 4 and 10 channels
_SCORES, _PLACES = 2, 14
_OUTPUTS = frozenset(f"{kind}_{stride}" for kind in _KINDS for stride in STRIDES)
_NOT_FOUND = (AttributeError, KeyError, ValueError, RuntimeError)  # of a graph of another shape


def compiled_yunet(
    path: Path, width: int, height: int, precision: str = "auto"
) -> ov.CompiledModel:
    """The network for pictures of `width` × `height`, on one thread, in this arithmetic.

    Input: BGR, float32 0-255 `[1, height, width, 3]`. Outputs, a row for each place of the three
    strides' grids, row by row, `STRIDES` one after the other: class and objectness in 0-1,
    float32 `[1, n, 2]`; offsets of the box (4) and of the landmarks (10), float32 `[1, n, 14]`.

    Raises:
        ModelError: the file is missing, damaged or not YuNet.
    """
    if not path.is_file():
        raise ModelError(f"face detector {path}: no such file; put it back")
    core = ov.Core()
    try:
        model = core.read_model(path)
    except RuntimeError:  # OpenVINO's own text is a page about its sources
        raise _damaged(path) from None
    heads = {name: port for port in model.outputs for name in port.get_names()}
    if not heads.keys() >= _OUTPUTS:
        raise _not_yunet(path)
    try:
        joined = _with_joined_heads(model, heads)
    except _NOT_FOUND:
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
        mixing = [layer[0] for layer in layers]
        spreading = [layer[1] for layer in layers]
        source = mixing[0].source
        joined = ops.convolution(
            source, np.concatenate([m.weights for m in mixing]), [1, 1], [0, 0], [0, 0], [1, 1]
        )
        joined = ops.add(joined, _bias(mixing))
        # One filter a channel: [channels, 1, 1, 3, 3].
        filters = np.concatenate([s.weights.reshape(-1, 1, 1, 3, 3) for s in spreading])
        joined = ops.group_convolution(joined, filters, [1, 1], [1, 1], [1, 1], [1, 1])
        joined = ops.add(joined, _bias(spreading))
        joined = ops.transpose(joined, [0, 2, 3, 1])
        rows.append(ops.reshape(joined, [1, -1, _SCORES + _PLACES], False))
    parts = ops.variadic_split(ops.concat(rows, 1), 2, [_SCORES, _PLACES])
    outputs = [ops.sigmoid(parts.output(0)).output(0), parts.output(1)]
    return ov.Model(outputs, model.get_parameters())


class _Layer:
    """A convolution and its bias, found from the output of the addition that ends it."""

    def __init__(self, end: ov.Output) -> None:
        convolution = end.get_node().input_value(0).get_node()
        self.source = convolution.input_value(0)
        self.weights = _constant(convolution.input_value(1))
        self.bias = _constant(end.get_node().input_value(1)).reshape(-1)


def _layers(head: ov.Output) -> tuple[_Layer, _Layer]:
    """The two convolutions of a head: the first mixes channels, the second spreads each."""
    end = head.get_node().input_value(0)
    while end.get_node().get_type_name() != "Add":  # reshapes and, of scores, a sigmoid
        end = end.get_node().input_value(0)
    spreading = _Layer(end)
    return _Layer(spreading.source), spreading


def _bias(layers: list[_Layer]) -> NDArray[np.float32]:
    return np.concatenate([layer.bias for layer in layers]).reshape(1, -1, 1, 1)


def _constant(port: ov.Output) -> NDArray[np.float32]:
    """The constant behind a port, through what merely reshapes it."""
    node = port.get_node()
    while node.get_type_name() != "Constant":
        node = node.input_value(0).get_node()
    values: NDArray[np.float32] = node.data
    return values


def _damaged(path: Path) -> ModelError:
    return ModelError(
        f"face detector {path}: damaged or no ONNX model; compare it with SHA256SUMS beside it"
    )


def _not_yunet(path: Path) -> ModelError:
    return ModelError(f"face detector {path}: not YuNet; put the original file back")
