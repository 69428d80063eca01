"""Inference with an exported model inside this process, on OpenVINO. Needs no TensorFlow.

`facestream predict` and the evaluation use it. They read the same file that the model server loads.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facestream.common.core.errors import ModelError
from facestream.common.vision.openvino_precision import precision_hint
from facestream.common.vision.openvino_runtime import ov

INFO_FILE = "model.json"
Predictions = dict[str, NDArray[np.float32]]
_BATCH = 16


def read_model_info(version: Path) -> Mapping[str, Any]:
    """Return the metadata that the export wrote into a version's folder; empty if there is no file.

    Raises:
        ModelError: the file is damaged.
    """
    path = version / INFO_FILE
    try:
        return json.loads(path.read_text()) if path.is_file() else {}
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read ({error}); export the model again") from None


class ExportedModel:
    """A SavedModel compiled for this CPU.

    Args:
        version: folder of one version, as `newest_version` returns it.
        threads: CPU threads of one inference.
        precision: `f32` (same numbers on every machine), `bf16` or `auto`.

    Raises:
        ModelError: the model does not load, or its input is not a batch of square RGB crops.
    """

    def __init__(self, version: Path, threads: int = 1, precision: str = "f32") -> None:
        try:
            core = ov.Core()
            options = {
                "INFERENCE_NUM_THREADS": threads,
                "INFERENCE_PRECISION_HINT": precision_hint(core, precision),
            }
            compiled = core.compile_model(core.read_model(version), "CPU", options)
        except RuntimeError as error:
            raise ModelError(f"{version}: does not load: {last_error_line(error)}") from None
        shape = compiled.input(0).get_partial_shape()
        if len(shape) != 4 or shape[1].is_dynamic or compiled.input(0).element_type != ov.Type.u8:
            raise ModelError(f"{version}: not a face model: input must be uint8 [N, size, size, 3]")
        self.path = version
        self.size_px = int(shape[1].get_length())
        self._request = compiled.create_infer_request()
        self._outputs = {_output_name(port): i for i, port in enumerate(compiled.outputs)}

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs, sorted."""
        return tuple(sorted(self._outputs))

    def info(self) -> Mapping[str, Any]:
        """Return the metadata of the version; see `read_model_info`."""
        return read_model_info(self.path)

    def predict(self, crops: NDArray[np.uint8]) -> Predictions:
        """Return the outputs for RGB crops, uint8 `[n, size_px, size_px, 3]`.

        Each output is float32 `[n]` or `[n, bins]`.
        """
        parts: dict[str, list[NDArray[np.float32]]] = {name: [] for name in self._outputs}
        for start in range(0, len(crops), _BATCH):
            batch = np.ascontiguousarray(crops[start : start + _BATCH])
            self._request.infer([batch], share_outputs=True)  # copied below, once
            for name, index in self._outputs.items():
                parts[name].append(self._request.get_output_tensor(index).data.copy())
        return {name: np.concatenate(part) for name, part in parts.items()}


def _output_name(port: Any) -> str:
    """Return the signature's name of an output; OpenVINO lists several names for it."""
    known = [n for n in port.get_names() if n in ("age", "age_std", "gender", "age_distribution")]
    return known[0] if known else str(port.get_any_name())


def last_error_line(error: Exception) -> str:
    """Return the last line of an OpenVINO error: the innermost of its stack of check failures."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
