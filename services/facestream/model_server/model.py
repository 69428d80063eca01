"""One version of a model: a frozen SavedModel, compiled by OpenVINO.

The folder contains `saved_model.pb`. OpenVINO reads the signature `serving_default` and names
inputs and outputs after it, so only that signature is served.
"""

from __future__ import annotations

import queue
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facestream.common.core.errors import ModelError
from facestream.common.vision.exported_model import last_error_line
from facestream.common.vision.openvino_precision import precision_hint
from facestream.common.vision.openvino_runtime import ov

# A batch runs in slices of this many rows. Measured with MobileNetV2 at 160 px: CPU time per face
# is the same from 2 to 16 rows, but memory grows with the rows (13 MB per stream at 4 rows, 80 MB
# at 16), as does the cache of compiled shapes.
SLICE_ROWS = 4


@dataclass(frozen=True, slots=True)
class Port:
    """Name, numpy type and shape of an input or output; None is a dynamic dimension."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | None, ...]


class Model:
    """A compiled model. Thread-safe; each concurrent inference uses one thread.

    Args:
        folder: contains `saved_model.pb`.
        streams: most concurrent inferences.
        precision: `f32`, `bf16`, `f16` or `auto` (see `precision_hint`).

    Raises:
        ModelError: the model does not load, or does not have exactly one batched input.
    """

    def __init__(self, folder: Path, *, streams: int, precision: str) -> None:
        core = ov.Core()
        try:
            model = core.read_model(folder)
            compiled = core.compile_model(
                model,
                "CPU",
                {
                    "NUM_STREAMS": streams,
                    "INFERENCE_NUM_THREADS": streams,
                    "INFERENCE_PRECISION_HINT": precision_hint(core, precision),
                    # The machine is shared with other services, so threads must be movable.
                    "ENABLE_CPU_PINNING": False,
                },
            )
        except Exception as error:  # OpenVINO raises bare RuntimeError for every failure
            raise ModelError(f"cannot load model {folder}: {last_error_line(error)}") from None
        inputs = [_port(node) for node in compiled.inputs]
        if len(inputs) != 1 or not inputs[0].shape or inputs[0].shape[0] is not None:
            raise ModelError(
                f"{folder}: model must have one input whose first dimension is the batch"
            )
        self.input = inputs[0]
        self.outputs = {port.name: port for port in map(_port, compiled.outputs)}
        self._index = {name: i for i, name in enumerate(self.outputs)}
        self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(streams):
            self._requests.put(compiled.create_infer_request())

    def warm_up(self) -> None:
        """Run every slice size on every stream, so that no request waits for compilation.

        Raises:
            ModelError: inference fails.
        """
        sides = [side or 1 for side in self.input.shape[1:]]
        batch = np.zeros([SLICE_ROWS, *sides], self.input.dtype)
        for size in range(SLICE_ROWS, 0, -1):
            for _ in range(self._requests.qsize()):
                self.infer(batch[:size], list(self.outputs), timeout_s=None)

    def infer(
        self, batch: NDArray[Any], outputs: Sequence[str], timeout_s: float | None
    ) -> dict[str, NDArray[Any]]:
        """Run inference on one batch; return the named outputs.

        Args:
            batch: `[n, …]` of the input's type.
            outputs: names of the outputs to return.
            timeout_s: how long to wait while all streams are busy; None means without limit.

        Raises:
            TimeoutError: no stream became free in that time.
            ModelError: inference failed.
        """
        if len(batch) == 0:
            return {name: _empty(self.outputs[name]) for name in outputs}
        try:
            request = self._requests.get(timeout=timeout_s)
        except queue.Empty:
            raise TimeoutError from None
        try:
            parts: dict[str, list[NDArray[Any]]] = {name: [] for name in outputs}
            for start in range(0, len(batch), SLICE_ROWS):
                request.set_input_tensor(ov.Tensor(batch[start : start + SLICE_ROWS]))
                request.infer(share_outputs=True)  # copied below
                for name, part in parts.items():
                    part.append(request.get_output_tensor(self._index[name]).data.copy())
            return {name: np.concatenate(part) for name, part in parts.items()}
        except Exception as error:
            raise ModelError(f"inference failed: {last_error_line(error)}") from None
        finally:
            self._requests.put(request)


def _port(node: Any) -> Port:
    shape = tuple(
        None if side.is_dynamic else side.get_length() for side in node.get_partial_shape()
    )
    return Port(node.get_any_name(), np.dtype(node.get_element_type().to_dtype()), shape)


def _empty(port: Port) -> NDArray[Any]:
    return np.empty([0, *(side or 0 for side in port.shape[1:])], port.dtype)
