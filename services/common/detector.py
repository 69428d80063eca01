"""Finds faces in a picture: YuNet on OpenVINO.

A BGR picture of the detector's own size goes in; boxes, five landmarks and scores come out, in
pixels of that picture. YuNet: W. Wu, H. Peng, S. Yu, "YuNet: a tiny millisecond-level face
detector", Machine Intelligence Research 20, 2023. The decoding follows the reference
implementation: score = sqrt(cls · obj), box centre and landmarks as offsets in strides.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import openvino as ov
from numpy.typing import NDArray

from services.common.errors import ModelError

MODEL_PATH = (
    Path(__file__).resolve().parents[2]
    / "models"
    / "face_detector"
    / "face_detection_yunet_2023mar.onnx"
)
_STRIDES = (8, 16, 32)
_OUTPUTS = frozenset(f"{kind}_{s}" for kind in ("cls", "obj", "bbox", "kps") for s in _STRIDES)
_MAX_CANDIDATES = 400  # bounds the cost of non-maximum suppression on a noisy picture


@dataclass(frozen=True, slots=True)
class Faces:
    """Faces of one picture, best first.

    boxes: float32 `[n, 4]` x, y, width, height in pixels; landmarks: float32 `[n, 5, 2]`;
    scores: float32 `[n]` in 0–1.
    """

    boxes: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    scores: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.scores)

    def moved(self, scale: float, dx: float = 0.0, dy: float = 0.0) -> Faces:
        """The same faces in another picture's pixels: shift by `dx, dy`, then scale."""
        shift = np.array([dx, dy], np.float32)
        boxes = self.boxes.copy()
        boxes[:, :2] = (boxes[:, :2] + shift) * scale
        boxes[:, 2:] *= scale
        return Faces(boxes, (self.landmarks + shift) * np.float32(scale), self.scores)


class FaceDetector:
    """YuNet compiled for one input size; not thread-safe, one thread of CPU.

    Args:
        width, height: input size in pixels, multiples of 32.
        min_score: faces below this score (0–1) are dropped.
        nms_iou: boxes that overlap a better one by more than this are dropped.

    Raises:
        ModelError: the model's file is missing, damaged or not YuNet.
    """

    def __init__(
        self,
        width: int = 640,
        height: int = 384,
        *,
        min_score: float = 0.6,
        nms_iou: float = 0.3,
        model_path: Path = MODEL_PATH,
    ) -> None:
        if width % 32 or height % 32:
            raise ValueError(f"detector size {width}x{height}: both sides must be multiples of 32")
        self.width, self.height = width, height
        self._min_score, self._nms_iou = min_score, nms_iou
        compiled = _compiled(model_path, width, height)
        self._request = compiled.create_infer_request()
        self._outputs = {
            name: i for i, port in enumerate(compiled.outputs) for name in port.get_names()
        }
        self._grids = {
            stride: np.stack(
                np.meshgrid(np.arange(width // stride), np.arange(height // stride)), axis=-1
            )
            .reshape(-1, 2)
            .astype(np.float32)
            for stride in _STRIDES
        }

    def detect(self, picture: NDArray[np.uint8]) -> Faces:
        """Faces in a BGR uint8 `[height, width, 3]` picture of the detector's size."""
        self._request.infer([picture[None]], share_inputs=True)
        boxes, landmarks, scores = [], [], []
        for stride in _STRIDES:
            cls, obj, bbox, kps = (
                self._request.get_output_tensor(self._outputs[f"{kind}_{stride}"]).data[0]
                for kind in ("cls", "obj", "bbox", "kps")
            )
            product = cls[:, 0] * obj[:, 0]
            keep = np.flatnonzero(product >= self._min_score**2)
            if keep.size == 0:
                continue
            grid = self._grids[stride][keep]
            centre = (grid + bbox[keep, :2]) * stride
            size = np.exp(bbox[keep, 2:]) * stride
            boxes.append(np.hstack([centre - size / 2, size]))
            landmarks.append((kps[keep].reshape(-1, 5, 2) + grid[:, None]) * stride)
            scores.append(np.sqrt(product[keep]))
        if not scores:
            return Faces(
                np.empty((0, 4), np.float32),
                np.empty((0, 5, 2), np.float32),
                np.empty(0, np.float32),
            )
        return self._suppress(
            np.concatenate(boxes), np.concatenate(landmarks), np.concatenate(scores)
        )

    def _suppress(
        self,
        boxes: NDArray[np.float32],
        landmarks: NDArray[np.float32],
        scores: NDArray[np.float32],
    ) -> Faces:
        kept = cv2.dnn.NMSBoxes(
            boxes.tolist(),
            scores.tolist(),
            self._min_score,
            self._nms_iou,
            top_k=_MAX_CANDIDATES,
        )
        order = np.asarray(kept, dtype=np.intp).reshape(-1)
        return Faces(boxes[order], landmarks[order], scores[order])


def _compiled(model_path: Path, width: int, height: int) -> ov.CompiledModel:
    if not model_path.is_file():
        raise ModelError(f"face detector {model_path}: no such file; put it back")
    try:
        core = ov.Core()
        model = core.read_model(model_path)
        model.reshape([1, 3, height, width])
        steps = ov.preprocess.PrePostProcessor(model)
        steps.input().tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
        steps.input().model().set_layout(ov.Layout("NCHW"))
        compiled = core.compile_model(
            steps.build(), "CPU", {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY"}
        )
    except RuntimeError:  # OpenVINO's own text is a page about its sources
        raise ModelError(
            f"face detector {model_path}: damaged or no ONNX model; "
            "compare it with SHA256SUMS beside it"
        ) from None
    names = {name for port in compiled.outputs for name in port.get_names()}
    if not names >= _OUTPUTS:
        raise ModelError(f"face detector {model_path}: not YuNet; put the original file back")
    return compiled


def letterbox(
    picture: NDArray[np.uint8], width: int, height: int
) -> tuple[NDArray[np.uint8], float]:
    """Fit a picture into `width` × `height`, top left, black elsewhere.

    Returns:
        the fitted picture, uint8 `[height, width, 3]`, and the factor that brings its pixels
        back to the original's.
    """
    scale = min(width / picture.shape[1], height / picture.shape[0])
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    fitted = np.zeros((height, width, 3), np.uint8)
    fitted[: size[1], : size[0]] = cv2.resize(picture, size, interpolation=interpolation)
    return fitted, 1.0 / scale
