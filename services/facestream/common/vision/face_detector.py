"""Face detector: YuNet on OpenVINO.

Input: a BGR image of the detector's size. Output: boxes, five landmarks and scores, in pixels of
that image. YuNet: W. Wu, H. Peng, S. Yu, "YuNet: a tiny millisecond-level face detector", Machine
Intelligence Research 20, 2023. The decoding follows the reference implementation:
score = sqrt(cls · obj), box center and landmarks are offsets in strides.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from facestream.common.core.paths import FACE_DETECTOR_FILE
from facestream.common.vision.openvino_runtime import ov
from facestream.common.vision.yunet import STRIDES, compile_yunet

STEP_PX = STRIDES[-1]  # input width and height are multiples of the coarsest stride
_MAX_CANDIDATES = 400  # bounds the cost of non-maximum suppression on a noisy image


@dataclass(frozen=True, slots=True)
class Detections:
    """Faces of one image, best first.

    Attributes:
        boxes: float32 `[n, 4]`: x, y, width, height in pixels.
        landmarks: float32 `[n, 5, 2]`: x, y in pixels.
        scores: float32 `[n]`, 0–1.
    """

    boxes: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    scores: NDArray[np.float32]

    def __len__(self) -> int:
        """Return the number of faces."""
        return len(self.scores)

    def filter(self, selection: NDArray[np.bool_] | NDArray[np.intp]) -> Detections:
        """Return the faces that a mask or an array of indices selects."""
        return Detections(self.boxes[selection], self.landmarks[selection], self.scores[selection])

    def merge_nms(self, others: Detections, iou: float) -> Detections:
        """Return the union with other faces of the same image, best first, after NMS.

        Of two boxes that overlap by more than `iou`, the one with the lower score is dropped.
        """
        boxes = np.concatenate([self.boxes, others.boxes])
        scores = np.concatenate([self.scores, others.scores])
        union = Detections(boxes, np.concatenate([self.landmarks, others.landmarks]), scores)
        return union.filter(_nms(boxes, scores, 0.0, iou))

    def transform(self, scale: float, dx: float = 0.0, dy: float = 0.0) -> Detections:
        """Return the faces in the pixels of another image: shift by `dx, dy`, then scale."""
        shift = np.array([dx, dy], np.float32)
        boxes = self.boxes.copy()
        boxes[:, :2] = (boxes[:, :2] + shift) * scale
        boxes[:, 2:] *= scale
        return Detections(boxes, (self.landmarks + shift) * np.float32(scale), self.scores)


class FaceDetector:
    """YuNet compiled for one input size. Uses one CPU thread; not thread-safe.

    Args:
        width: of the input in pixels, a multiple of 32.
        height: as `width`.
        min_score: faces below this score (0–1) are dropped.
        nms_iou: boxes that overlap a better one by more than this are dropped.
        model_path: the ONNX file.

    Raises:
        ModelError: the model file is missing, damaged or not YuNet.
    """

    def __init__(
        self,
        width: int = 640,
        height: int = 384,
        *,
        min_score: float = 0.6,
        nms_iou: float = 0.3,
        model_path: Path = FACE_DETECTOR_FILE,
    ) -> None:
        if width % STEP_PX or height % STEP_PX:
            raise ValueError(
                f"detector size {width}x{height}: both sides must be multiples of {STEP_PX}"
            )
        self.width, self.height = width, height
        self._min_score, self._nms_iou = min_score, nms_iou
        self._request = compile_yunet(model_path, width, height).create_infer_request()
        self._input = np.empty((1, height, width, 3), np.float32)
        # Binding the input once and sharing the outputs saves 8 % over a copy for each image.
        self._request.set_input_tensor(ov.Tensor(self._input, shared_memory=True))
        self._cells, self._strides = _anchor_grid(width, height)

    def detect(self, image: NDArray[np.uint8]) -> Detections:
        """Return the faces in a BGR uint8 `[height, width, 3]` image of the detector's size."""
        self._input[0] = image
        self._request.infer(share_outputs=True)
        confidence = self._request.get_output_tensor(0).data[0]
        offsets = self._request.get_output_tensor(1).data[0]
        product = confidence[:, 0] * confidence[:, 1]
        selected = np.flatnonzero(product >= self._min_score**2)
        cells, strides, offsets = self._cells[selected], self._strides[selected], offsets[selected]
        centers = (cells + offsets[:, :2]) * strides
        sizes = np.exp(offsets[:, 2:4]) * strides
        landmarks = (offsets[:, 4:].reshape(-1, 5, 2) + cells[:, None]) * strides[:, None]
        boxes, scores = np.hstack([centers - sizes / 2, sizes]), np.sqrt(product[selected])
        best = _nms(boxes, scores, self._min_score, self._nms_iou)
        return Detections(boxes, landmarks, scores).filter(best)


def _nms(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], min_score: float, iou: float
) -> NDArray[np.intp]:
    """Return the indices of the boxes that remain after non-maximum suppression, best first."""
    if len(scores) == 0:
        return np.empty(0, np.intp)
    indices = cv2.dnn.NMSBoxes(
        boxes.tolist(), scores.tolist(), min_score, iou, top_k=_MAX_CANDIDATES
    )
    return np.asarray(indices, dtype=np.intp).reshape(-1)


def _anchor_grid(width: int, height: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return column and row of each cell of the three grids, `[n, 2]`, and its stride, `[n, 1]`."""
    cells, strides = [], []
    for stride in STRIDES:
        grid = np.meshgrid(np.arange(width // stride), np.arange(height // stride))
        cells.append(np.stack(grid, axis=-1).reshape(-1, 2))
        strides.append(np.full((len(cells[-1]), 1), stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(strides).astype(np.float32)


def letterbox(image: NDArray[np.uint8], width: int, height: int) -> tuple[NDArray[np.uint8], float]:
    """Fit an image into `width` × `height`, at the top left, black elsewhere.

    Returns:
        the letterboxed image, uint8 `[height, width, 3]`, and the factor from its pixels to those
        of the original.
    """
    scale = min(width / image.shape[1], height / image.shape[0])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    canvas = np.zeros((height, width, 3), np.uint8)
    canvas[: size[1], : size[0]] = cv2.resize(image, size, interpolation=interpolation)
    return canvas, 1.0 / scale
