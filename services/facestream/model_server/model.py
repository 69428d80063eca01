"""One version of a model: a frozen SavedModel compiled by OpenVINO, ready to be asked.

A folder with `saved_model.pb` goes in; `infer` takes a batch as one array and gives the named
outputs. OpenVINO reads the signature `serving_default` and names inputs and outputs by it, so that
is the one signature that is served.
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

# A batch runs in slices of this many rows. Measured with MobileNetV2 at 160 px: the same CPU for a
# face from 2 to 16 rows at a time, but the memory of an inference grows with them (13 MB at 4 rows,
# 80 MB at 16, for each stream), and so does what is kept prepared for each number of rows.
SLICE = 4


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output: its name, numpy type and shape; None is a side that varies."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | None, ...]


class Model:
    """A compiled model; thread-safe, `streams` inferences at a time with one thread each.

    Args:
        folder: holds `saved_model.pb`.
        streams: inferences that may run at a time.
        precision: of the arithmetic, `f32`, `bf16`, `f16` or `auto` (`precision_hint`).

    Raises:
        ModelError: it does not load, or is not a model of one batched input.
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
                    # Other services share this machine: the scheduler may move the threads.
                    "ENABLE_CPU_PINNING": False,
                },
            )
        except Exception as error:  # OpenVINO raises bare RuntimeError for all and everything
            raise ModelError(f"{folder}: does not load: {last_error_line(error)}") from None
        inputs = [_port(node) for node in compiled.inputs]
        if len(inputs) != 1 or not inputs[0].shape or inputs[0].shape[0] is not None:
            raise ModelError(f"{folder}: must have one input whose first side is the batch")
        self.input = inputs[0]
        self.outputs = {port.name: port for port in map(_port, compiled.outputs)}
        self._index = {name: i for i, name in enumerate(self.outputs)}
        self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(streams):
            self._requests.put(compiled.create_infer_request())

    def warm_up(self) -> None:
        """Run every slice size on every stream, so that no request pays for preparing it.

        Raises:
            ModelError: it loads but does not run.
        """
        sides = [side or 1 for side in self.input.shape[1:]]
        batch = np.zeros([SLICE, *sides], self.input.dtype)
        for size in range(SLICE, 0, -1):
            for _ in range(self._requests.qsize()):
                self.infer(batch[:size], list(self.outputs), timeout_s=None)

    def infer(
        self, batch: NDArray[Any], wanted: Sequence[str], timeout_s: float | None
    ) -> dict[str, NDArray[Any]]:
        """The wanted outputs for one batch, `[n, …]` of the input's type.

        Args:
            timeout_s: how long to wait while all streams are busy; None waits.

        Raises:
            TimeoutError: no stream became free in that time.
            ModelError: the inference failed.
        """
        if len(batch) == 0:
            return {name: _empty(self.outputs[name]) for name in wanted}
        try:
            request = self._requests.get(timeout=timeout_s)
        except queue.Empty:
            raise TimeoutError from None
        try:
            parts: dict[str, list[NDArray[Any]]] = {name: [] for name in wanted}
            for start in range(0, len(batch), SLICE):
                request.set_input_tensor(ov.Tensor(batch[start : start + SLICE]))
                request.infer(share_outputs=True)  # they are copied below, once
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
