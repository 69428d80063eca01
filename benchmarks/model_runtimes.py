"""What a face costs in the network alone, by the runtime that it is asked with.

    python -m benchmarks.model_runtimes openvino|tensorflow MODEL

OpenVINO is what the embedded model server uses, TensorFlow what TensorFlow Serving uses; here both
run in this process, without RPC, on one thread. Prints one line of JSON: faces, CPU seconds.
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

_BATCH = 4  # as many as the model server takes at a time
_WARM_UP, _BATCHES = 5, 50

Ask = Callable[[NDArray[np.uint8]], Any]


def main() -> None:
    """Ask again and again."""
    parser = argparse.ArgumentParser()
    parser.add_argument("runtime", choices=("openvino", "tensorflow"))
    parser.add_argument("model", type=Path)
    arguments = parser.parse_args()
    ask, size_px = (_openvino if arguments.runtime == "openvino" else _tensorflow)(arguments.model)
    shape = (_BATCH, size_px, size_px, 3)
    crops = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    for _ in range(_WARM_UP):
        ask(crops)
    began = time.process_time()
    for _ in range(_BATCHES):
        ask(crops)
    cpu_s = time.process_time() - began
    print(json.dumps({"faces": _BATCH * _BATCHES, "cpu_s": cpu_s}))


def _openvino(folder: Path) -> tuple[Ask, int]:
    from facestream.common.vision.exported_model import ExportedModel

    model = ExportedModel(folder, precision="auto")  # as it is served
    return model.predict, model.size_px


def _tensorflow(folder: Path) -> tuple[Ask, int]:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    model = tf.saved_model.load(str(folder))  # holds what the signature needs
    signature = model.signatures["serving_default"]
    ((name, given),) = signature.structured_input_signature[1].items()

    def ask(crops: NDArray[np.uint8]) -> Any:
        answers = signature(**{name: tf.constant(crops)})
        return {output: answer.numpy() for output, answer in answers.items()}, model

    return ask, int(given.shape[1])


if __name__ == "__main__":
    main()
