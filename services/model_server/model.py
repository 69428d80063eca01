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
import openvino as ov
from numpy.typing import NDArray

from services.common.errors import ModelError

SAVED_MODEL = "saved_model.pb"


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
        precision: OpenVINO's inference precision, `f32`, `bf16` or `f16`.

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
                    "INFERENCE_PRECISION_HINT": precision,
                    # Other services share this machine: the scheduler may move the threads.
                    "ENABLE_CPU_PINNING": False,
                },
            )
        except Exception as error:  # OpenVINO raises bare RuntimeError for all and everything
            raise ModelError(f"{folder}: does not load: {_first_line(error)}") from None
        inputs = [_port(node) for node in compiled.inputs]
        if len(inputs) != 1 or not inputs[0].shape or inputs[0].shape[0] is not None:
            raise ModelError(f"{folder}: must have one input whose first side is the batch")
        self.input = inputs[0]
        self.outputs = {port.name: port for port in map(_port, compiled.outputs)}
        self._index = {name: i for i, name in enumerate(self.outputs)}
        self._requests: queue.LifoQueue[Any] = queue.LifoQueue()
        for _ in range(streams):
            self._requests.put(compiled.create_infer_request())

    def warm_up(self, max_batch: int) -> None:
        """Run every batch size up to `max_batch`, so that no request pays for preparing it.

        Raises:
            ModelError: it loads but does not run.
        """
        sides = [side or 1 for side in self.input.shape[1:]]
        batch = np.zeros([max_batch, *sides], self.input.dtype)
        for size in range(max_batch, 0, -1):
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
            request.infer([batch], share_inputs=True)
            return {
                name: request.get_output_tensor(self._index[name]).data.copy() for name in wanted
            }
        except Exception as error:
            raise ModelError(f"inference failed: {_first_line(error)}") from None
        finally:
            self._requests.put(request)


def _port(node: Any) -> Port:
    shape = tuple(
        None if side.is_dynamic else side.get_length() for side in node.get_partial_shape()
    )
    return Port(node.get_any_name(), np.dtype(node.get_element_type().to_dtype()), shape)


def _empty(port: Port) -> NDArray[Any]:
    return np.empty([0, *(side or 0 for side in port.shape[1:])], port.dtype)


def _first_line(error: Exception) -> str:
    """OpenVINO's messages are a stack of check failures; the innermost, last line tells."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
