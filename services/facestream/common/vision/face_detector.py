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

from facestream.common.core.paths import FACE_DETECTOR_FILE
from facestream.common.vision.yunet import STRIDES, compiled_yunet

STEP_PX = STRIDES[-1]  # the sides of its input are multiples of the coarsest stride
_MAX_CANDIDATES = 400  # bounds the cost of non-maximum suppression on a noisy picture


@dataclass(frozen=True, slots=True)
class Detections:
    """Faces of one picture, best first.

    boxes: float32 `[n, 4]` x, y, width, height in pixels; landmarks: float32 `[n, 5, 2]`;
    scores: float32 `[n]` in 0–1.
    """

    boxes: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    scores: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.scores)

    def filter(self, kept: NDArray[np.bool_] | NDArray[np.intp]) -> Detections:
        """Those that are chosen, by a mask or by their numbers."""
        return Detections(self.boxes[kept], self.landmarks[kept], self.scores[kept])

    def merge_nms(self, others: Detections, iou: float) -> Detections:
        """These and the others of the same picture, best first; of two that overlap, the better."""
        boxes = np.concatenate([self.boxes, others.boxes])
        scores = np.concatenate([self.scores, others.scores])
        together = Detections(boxes, np.concatenate([self.landmarks, others.landmarks]), scores)
        return together.filter(_nms(boxes, scores, 0.0, iou))

    def transform(self, scale: float, dx: float = 0.0, dy: float = 0.0) -> Detections:
        """The same faces in another picture's pixels: shift by `dx, dy`, then scale."""
        shift = np.array([dx, dy], np.float32)
        boxes = self.boxes.copy()
        boxes[:, :2] = (boxes[:, :2] + shift) * scale
        boxes[:, 2:] *= scale
        return Detections(boxes, (self.landmarks + shift) * np.float32(scale), self.scores)


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
        model_path: Path = FACE_DETECTOR_FILE,
    ) -> None:
        if width % STEP_PX or height % STEP_PX:
            raise ValueError(
                f"detector size {width}x{height}: both sides must be multiples of {STEP_PX}"
            )
        self.width, self.height = width, height
        self._min_score, self._nms_iou = min_score, nms_iou
        self._request = compiled_yunet(model_path, width, height).create_infer_request()
        self._input = np.empty((1, height, width, 3), np.float32)
        # Bound once: to be given it anew for each picture, and to copy what comes out, costs 8 %.
        self._request.set_input_tensor(ov.Tensor(self._input, shared_memory=True))
        self._cells, self._strides = _anchor_grid(width, height)

    def detect(self, picture: NDArray[np.uint8]) -> Detections:
        """Faces in a BGR uint8 `[height, width, 3]` picture of the detector's size."""
        self._input[0] = picture
        self._request.infer(share_outputs=True)
        certainty = self._request.get_output_tensor(0).data[0]
        places = self._request.get_output_tensor(1).data[0]
        product = certainty[:, 0] * certainty[:, 1]
        keep = np.flatnonzero(product >= self._min_score**2)
        cells, strides, places = self._cells[keep], self._strides[keep], places[keep]
        centres = (cells + places[:, :2]) * strides
        sizes = np.exp(places[:, 2:4]) * strides
        landmarks = (places[:, 4:].reshape(-1, 5, 2) + cells[:, None]) * strides[:, None]
        boxes, scores = np.hstack([centres - sizes / 2, sizes]), np.sqrt(product[keep])
        best = _nms(boxes, scores, self._min_score, self._nms_iou)
        return Detections(boxes, landmarks, scores).filter(best)


def _nms(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], min_score: float, iou: float
) -> NDArray[np.intp]:
    """Numbers of the boxes that no better one overlaps, best first."""
    if len(scores) == 0:
        return np.empty(0, np.intp)
    kept = cv2.dnn.NMSBoxes(boxes.tolist(), scores.tolist(), min_score, iou, top_k=_MAX_CANDIDATES)
    return np.asarray(kept, dtype=np.intp).reshape(-1)


def _anchor_grid(width: int, height: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Column and row of each place of the three grids, `[n, 2]`, and its stride, `[n, 1]`."""
    cells, strides = [], []
    for stride in STRIDES:
        grid = np.meshgrid(np.arange(width // stride), np.arange(height // stride))
        cells.append(np.stack(grid, axis=-1).reshape(-1, 2))
        strides.append(np.full((len(cells[-1]), 1), stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(strides).astype(np.float32)


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
