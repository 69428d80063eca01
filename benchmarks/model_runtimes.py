"""Measure the CPU of one inference by runtime, without RPC.

    python -m benchmarks.model_runtimes openvino|tensorflow MODEL

OpenVINO is the runtime of the embedded model server, TensorFlow that of TensorFlow Serving. Both
run in this process on one thread. Prints one line of JSON: faces, CPU seconds.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_BATCH = 4  # the batch size of the model server
_WARM_UP, _BATCHES = 5, 50

Infer = Callable[[NDArray[np.uint8]], Any]


def main() -> None:
    """Run inference repeatedly and print the cost."""
    parser = argparse.ArgumentParser()
    parser.add_argument("runtime", choices=("openvino", "tensorflow"))
    parser.add_argument("model", type=Path)
    arguments = parser.parse_args()
    infer, size_px = (_openvino if arguments.runtime == "openvino" else _tensorflow)(
        arguments.model
    )
    shape = (_BATCH, size_px, size_px, 3)
    crops = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    for _ in range(_WARM_UP):
        infer(crops)
    began = time.process_time()
    for _ in range(_BATCHES):
        infer(crops)
    cpu_s = time.process_time() - began
    print(json.dumps({"faces": _BATCH * _BATCHES, "cpu_s": cpu_s}))


def _openvino(folder: Path) -> tuple[Infer, int]:
    from facestream.common.vision.exported_model import ExportedModel

    model = ExportedModel(folder, precision="auto")  # as the model server loads it
    return model.predict, model.size_px


def _tensorflow(folder: Path) -> tuple[Infer, int]:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    model = tf.saved_model.load(str(folder))  # keeps the variables of the signature alive
    signature = model.signatures["serving_default"]
    ((name, input_spec),) = signature.structured_input_signature[1].items()

    def infer(crops: NDArray[np.uint8]) -> Any:
        outputs = signature(**{name: tf.constant(crops)})
        return {name: value.numpy() for name, value in outputs.items()}, model

    return infer, int(input_spec.shape[1])


if __name__ == "__main__":
    main()
