"""Face alignment: five landmarks in, an upright square crop out. No I/O.

Training, `facestream predict` and capture all call `align`, so that the network gets the same
framing in production as in training.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

# Landmark positions in UTKFace's own crops, as fractions of the crop's side: the subject's right
# eye (on the left of the image), left eye, nose tip, right and left mouth corner. YuNet reports
# them in the same order.
TEMPLATE: NDArray[np.float32] = np.array(
    [[0.29, 0.29], [0.68, 0.29], [0.48, 0.50], [0.32, 0.68], [0.65, 0.67]], dtype=np.float32
)

# Bilinear warping reads four source pixels. Shrinking by more than this would skip pixels, so the
# source is first reduced by averaging.
_MAX_SHRINK = 2.0


def similarity_transform(
    landmarks: NDArray[np.float32], size_px: int, margin: float = 0.0
) -> NDArray[np.float64]:
    """Return the least-squares similarity (rotation, scale, shift) from landmarks to the template.

    Closed form for two dimensions of S. Umeyama, "Least-squares estimation of transformation
    parameters between two point patterns", IEEE TPAMI 13(4), 1991.

    Args:
        landmarks: float `[5, 2]`, x and y in pixels of the source image.
        size_px: side of the square crop.
        margin: context added on each side, as a fraction of the face's own frame.

    Returns:
        float64 `[2, 3]`: multiply `[x, y, 1]` by it to get pixels of the crop.

    Raises:
        ValueError: the landmarks coincide or are not finite, so the scale is undefined.
    """
    source = np.asarray(landmarks, dtype=np.float64).reshape(5, 2)
    target = (TEMPLATE.astype(np.float64) + margin) / (1 + 2 * margin) * size_px
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    s, t = source - source_mean, target - target_mean
    spread = float((s * s).sum())
    if not np.isfinite(spread) or spread < 1e-6:
        raise ValueError("landmarks are degenerate: all five at one point or not finite")
    a = float((s * t).sum()) / spread
    b = float((s[:, 0] * t[:, 1] - s[:, 1] * t[:, 0]).sum()) / spread
    rotation = np.array([[a, -b], [b, a]])
    return np.hstack([rotation, (target_mean - rotation @ source_mean)[:, None]])


def face_scale(matrix: NDArray[np.float64]) -> float:
    """Return the crop pixels per source pixel of a similarity transform `[2, 3]`."""
    return float(np.hypot(matrix[0, 0], matrix[1, 0]))


def source_region(
    landmarks: NDArray[np.float32], width: int, height: int
) -> tuple[int, int, int, int]:
    """Return the part of an image that `align` reads: `(x0, y0, x1, y1)`, even coordinates.

    A caller can convert only this region of a YUV frame to RGB. The region is clipped to the image;
    it is empty (`x1 <= x0` or `y1 <= y0`) if the face lies outside.
    """
    inverse = cv2.invertAffineTransform(similarity_transform(landmarks, 1))
    corners = np.array([[0, 0, 1], [1, 0, 1], [0, 1, 1], [1, 1, 1]], dtype=np.float64)
    points = corners @ inverse.T
    low, high = points.min(axis=0) - 2, points.max(axis=0) + 3
    x0, y0 = max(0, int(low[0]) & ~1), max(0, int(low[1]) & ~1)
    x1, y1 = min(width & ~1, int(high[0] + 1) & ~1), min(height & ~1, int(high[1] + 1) & ~1)
    return x0, y0, x1, y1


def align(
    image: NDArray[np.uint8],
    landmarks: NDArray[np.float32],
    size_px: int,
    margin: float = 0.0,
) -> NDArray[np.uint8]:
    """Cut one face out of an image, upright and framed as the network expects.

    Args:
        image: uint8 `[height, width, 3]`, any channel order; the crop has the same order.
        landmarks: float `[5, 2]` in pixels of `image`.
        size_px: side of the crop.
        margin: context added on each side, as a fraction of the face's own frame.

    Returns:
        uint8 `[size_px, size_px, 3]`. Pixels outside the image repeat its border.

    Raises:
        ValueError: degenerate landmarks or an empty image.
    """
    if image.size == 0:
        raise ValueError("image is empty")
    matrix = similarity_transform(landmarks, size_px, margin)
    shrink = 1.0 / face_scale(matrix)
    if shrink > _MAX_SHRINK:
        height, width = image.shape[:2]
        factor = shrink / _MAX_SHRINK
        small = (max(1, round(width / factor)), max(1, round(height / factor)))
        image = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
        landmarks = landmarks * np.array([small[0] / width, small[1] / height], np.float32)
        matrix = similarity_transform(landmarks, size_px, margin)
    return cv2.warpAffine(
        image,
        matrix,
        (size_px, size_px),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
