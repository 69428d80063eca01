"""Quality of a face crop for prediction, from size, sharpness, pose and detector score. No I/O."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

GOOD_FACE_PX = 96.0  # more pixels than this do not improve the prediction
SHARP_VARIANCE = 200.0  # variance of the Laplacian at which sharpness counts as two thirds
# Position of the nose tip of a frontal face, between eye line (0) and mouth line (1).
_FRONTAL_NOSE = 0.55
# Deviations at which a face is in profile: from `_FRONTAL_NOSE`, and from the middle between the
# eyes in eye distances.
_PROFILE_PITCH = 0.5
_PROFILE_YAW = 0.6


def frontality(landmarks: NDArray[np.float32]) -> float:
    """Return how frontal a face is: 1 frontal, 0 in profile or for degenerate landmarks.

    Args:
        landmarks: float32 `[5, 2]`: right eye, left eye, nose tip, mouth corners; any rotation.
    """
    (rx, ry), (lx, ly), (nx, ny), (ax, ay), (bx, by) = landmarks.tolist()
    eye_distance = math.hypot(lx - rx, ly - ry)
    if not math.isfinite(eye_distance) or eye_distance < 1e-3:
        return 0.0
    along_x, along_y = (lx - rx) / eye_distance, (ly - ry) / eye_distance
    nose_x, nose_y = nx - (rx + lx) / 2, ny - (ry + ly) / 2
    mouth_x, mouth_y = (ax + bx - rx - lx) / 2, (ay + by - ry - ly) / 2
    yaw = (nose_x * along_x + nose_y * along_y) / eye_distance
    mouth_distance = mouth_y * along_x - mouth_x * along_y
    if not math.isfinite(mouth_distance) or mouth_distance < 1e-3:
        return 0.0
    pitch = (nose_y * along_x - nose_x * along_y) / mouth_distance - _FRONTAL_NOSE
    deviation = (yaw / _PROFILE_YAW) ** 2 + (pitch / _PROFILE_PITCH) ** 2
    return max(0.0, 1.0 - deviation) if math.isfinite(deviation) else 0.0


def crop_quality(face_px: float, laplacian_variance: float, frontal: float, score: float) -> float:
    """Return the quality of an observation for prediction, 0-1: the product of four factors.

    Args:
        face_px: side of the face in source pixels.
        laplacian_variance: of the face's luma, at a fixed size; grows with sharpness.
        frontal: result of `frontality`.
        score: detector score, 0-1.
    """
    size = min(1.0, face_px / GOOD_FACE_PX)
    sharpness = 1.0 - math.exp(-laplacian_variance / SHARP_VARIANCE)
    return size * sharpness * frontal * score
