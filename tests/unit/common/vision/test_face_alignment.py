"""Face alignment: landmarks to the template, margins and source regions."""

import cv2
import numpy as np
import pytest
from facestream.common.vision.face_alignment import (
    TEMPLATE,
    align,
    similarity_transform,
    source_region,
)
from numpy.typing import NDArray


def transformed_template(
    scale: float, angle_deg: float, dx: float, dy: float
) -> NDArray[np.float32]:
    """Return the template's landmarks, rotated, scaled and shifted."""
    angle = np.deg2rad(angle_deg)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return (TEMPLATE @ rotation.T * scale + [dx, dy]).astype(np.float32)


@pytest.mark.parametrize(("scale", "angle"), [(40, 0), (160, 30), (700, -75), (90, 180)])
def test_landmarks_map_to_the_template_in_any_pose(scale: float, angle: float) -> None:
    landmarks = transformed_template(scale, angle, 300, 200)
    matrix = similarity_transform(landmarks, 160)
    mapped = np.hstack([landmarks, np.ones((5, 1))]) @ matrix.T
    assert mapped == pytest.approx(TEMPLATE * 160, abs=0.01)


def test_a_margin_adds_context_on_each_side() -> None:
    landmarks = transformed_template(100, 0, 50, 50)
    mapped = np.hstack([landmarks, np.ones((5, 1))]) @ similarity_transform(landmarks, 120, 0.1).T
    assert mapped == pytest.approx((TEMPLATE + 0.1) * 100, abs=0.01)


@pytest.mark.parametrize("bad", [np.zeros((5, 2)), np.full((5, 2), np.nan)])
def test_degenerate_landmarks_are_rejected(bad: NDArray[np.float32]) -> None:
    with pytest.raises(ValueError, match="degenerate"):
        align(np.zeros((9, 9, 3), np.uint8), bad, 160)


def test_a_large_face_is_averaged_not_sampled() -> None:
    # One-pixel stripes: sampling would give black or white, averaging gives gray.
    image = np.zeros((1600, 1600, 3), np.uint8)
    image[:, ::2] = 255
    crop = align(image, transformed_template(1500, 0, 50, 50), 100)
    assert np.abs(crop[20:80, 20:80].astype(int) - 127).max() < 40


def test_the_source_region_contains_all_pixels_that_align_reads() -> None:
    image = cv2.GaussianBlur(
        np.random.default_rng(1).integers(0, 255, (480, 640, 3), dtype=np.uint8), (0, 0), 2
    )
    landmarks = transformed_template(90, 25, 300, 200)
    x0, y0, x1, y1 = source_region(landmarks, 640, 480)
    assert (x0 | y0 | x1 | y1) % 2 == 0
    part = align(
        np.ascontiguousarray(image[y0:y1, x0:x1]), landmarks - np.array([x0, y0], np.float32), 80
    )
    assert np.abs(part.astype(int) - align(image, landmarks, 80).astype(int)).max() <= 2


def test_a_face_outside_the_image_has_an_empty_region() -> None:
    x0, _, x1, _ = source_region(transformed_template(90, 0, 2000, 0), 640, 480)
    assert x1 <= x0
