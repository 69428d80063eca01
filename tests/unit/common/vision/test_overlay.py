"""Overlay: boxes and labels are legible and inside the image."""

from __future__ import annotations

import numpy as np
import pytest
import simplejpeg
from facestream.common.vision.displayed_estimate import DisplayedEstimate
from facestream.common.vision.overlay import Box, build_label, draw_labels
from facestream.common.vision.yuv_image import decode_jpeg, encode_jpeg, solid_color
from numpy.typing import NDArray

KNOWN = DisplayedEstimate(
    age=34.2, age_low=28.1, age_high=40.4, female_probability=0.93, predictions=3
)
GRAY = (128, 128, 128)


def luma_after_drawing(
    width: int, height: int, *boxes: Box, estimate: DisplayedEstimate = KNOWN
) -> NDArray[np.uint8]:
    """Return the luma plane after drawing."""
    image = solid_color(width, height, GRAY)
    draw_labels(image, [build_label(box, estimate) for box in boxes])
    return image.y


def changed_box(y: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """Return x0, y0, x1, y1 of the changed pixels."""
    rows, columns = np.nonzero(y != GRAY[0])
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


@pytest.mark.parametrize(
    ("estimate", "texts"),
    [
        (KNOWN, ("34 (28–40) female", "34 female", "34")),
        (DisplayedEstimate(61, 55, 70, 0.04, 2), ("61 (55–70) male", "61 male", "61")),
        (DisplayedEstimate(61, 55, 70, None, 2), ("61 (55–70)", "61")),
        (DisplayedEstimate(None, None, None, 0.9, 1), ("female",)),
        (DisplayedEstimate(), ()),
    ],
)
def test_a_label_contains_only_the_known_parts(
    estimate: DisplayedEstimate, texts: tuple[str, ...]
) -> None:
    assert build_label((0, 0, 1, 1), estimate).texts == texts


def test_female_male_and_unknown_have_different_colors() -> None:
    colors = {
        build_label((0, 0, 1, 1), DisplayedEstimate(30, 20, 40, p, 1)).bgr for p in (0.9, 0.1, None)
    }
    assert len(colors) == 3


def test_the_box_surrounds_the_face() -> None:
    y = luma_after_drawing(640, 360, (200, 150, 100, 120), estimate=DisplayedEstimate())
    x0, y0, x1, y1 = changed_box(y)
    assert (x0, y0) == pytest.approx((200, 150), abs=3)
    assert (x1, y1) == pytest.approx((300, 270), abs=3)
    assert (y[190:230, 220:280] == GRAY[0]).all(), "the face is not covered"


def test_a_box_is_visible_on_any_background() -> None:
    for background in (0, 128, 255):
        image = solid_color(640, 360, (background, 128, 128))
        draw_labels(image, [build_label((200, 150, 100, 120), DisplayedEstimate())])
        edge = image.y[200, 190:215].astype(int)
        assert edge.max() - edge.min() > 150


def test_the_label_is_above_the_box() -> None:
    y = luma_after_drawing(1280, 720, (600, 300, 100, 120))
    _, top, _, bottom = changed_box(y)
    assert top < 280
    assert bottom <= 424


@pytest.mark.parametrize(
    "box",
    [
        (0, 0, 100, 120),
        (1200, 0, 100, 120),
        (1250, 650, 100, 120),
        (-40, 640, 100, 120),
        (0, 0, 1280, 720),
        (-50, -50, 1500, 900),
    ],
)
def test_a_face_near_an_edge_has_its_whole_label_inside_the_image(box: Box) -> None:
    inside = luma_after_drawing(1280, 720, (600, 300, 100, 120))
    plate_height = 300 - changed_box(inside)[1] - 4
    y = luma_after_drawing(1280, 720, box)
    text = y > 250
    assert text.sum() > 0.8 * (inside > 250).sum(), "the text is complete"
    rows = np.nonzero(text.sum(axis=1))[0]
    assert rows.max() - rows.min() < plate_height or box[2] > 1000


@pytest.mark.parametrize(
    "size", [(64, 48), (160, 120), (320, 240), (481, 271), (1920, 1080), (3840, 2160)]
)
def test_labels_scale_with_the_image_size(size: tuple[int, int]) -> None:
    width, height = size
    y = luma_after_drawing(width, height, (width * 0.4, height * 0.4, width * 0.2, height * 0.3))
    assert y.shape == (height, width)
    bright = np.nonzero(y > 230)
    assert bright[0].max() - bright[0].min() >= min(7, height / 60)


def test_labels_of_adjacent_faces_do_not_overlap() -> None:
    both = luma_after_drawing(1280, 720, (500, 300, 80, 100), (560, 305, 80, 100))
    one = luma_after_drawing(1280, 720, (500, 300, 80, 100))
    assert (both > 250).sum() > 1.9 * (one > 250).sum()


@pytest.mark.parametrize(
    "box", [(2000, 100, 50, 50), (-200, -200, 50, 50), (100, 100, 0, 0), (100, 100, -5, 20)]
)
def test_a_box_outside_the_image_draws_nothing(box: Box) -> None:
    assert (luma_after_drawing(640, 360, box) == GRAY[0]).all()


def test_colors_survive_jpeg_encoding() -> None:
    image = solid_color(640, 360, GRAY)
    draw_labels(image, [build_label((200, 150, 200, 150), DisplayedEstimate(30, 25, 35, 0.02, 1))])
    bgr = simplejpeg.decode_jpeg(encode_jpeg(image, 95), "BGR")
    blue = bgr[220, 200:206].astype(int)
    assert (blue[:, 0] - blue[:, 2]).max() > 80, "the left edge of a man's box is blue"


def test_drawing_leaves_the_rest_of_a_decoded_image_unchanged() -> None:
    rng = np.random.default_rng(0)
    scene = np.repeat(np.repeat(rng.integers(0, 255, (36, 64, 3), np.uint8), 10, 0), 10, 1)
    jpeg = simplejpeg.encode_jpeg(np.ascontiguousarray(scene), 90, colorsubsampling="420")
    image, original = decode_jpeg(jpeg), decode_jpeg(jpeg)
    draw_labels(image, [build_label((100, 100, 60, 60), KNOWN)])
    np.testing.assert_array_equal(image.y[200:], original.y[200:])
    np.testing.assert_array_equal(image.u[100:], original.u[100:])
