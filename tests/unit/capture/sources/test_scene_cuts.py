"""Hard cuts are told from light, shaking hands and people."""

from collections.abc import Callable, Iterable

import cv2
import numpy as np
import pytest
import simplejpeg
from facestream.capture.sources.scene_cuts import MAX_GAP_S, SceneCutDetector
from facestream.common.core.paths import SAMPLES_DIR
from numpy.typing import NDArray

Luma = NDArray[np.uint8]

STEP_S = 1 / 15
WIDTH, HEIGHT = 320, 180


def photograph(name: str, shift: int = 0) -> Luma:
    """A person, as a camera that looks a little to the side would see them."""
    luma = simplejpeg.decode_jpeg((SAMPLES_DIR / f"{name}.jpg").read_bytes(), "GRAY")[:, :, 0]
    width = luma.shape[1]
    wide = cv2.resize(luma[: width * HEIGHT // WIDTH], (WIDTH, HEIGHT))
    return np.asarray(np.roll(wide, shift, axis=1), np.uint8)


def noisy(luma: Luma, seed: int, grey_levels: float = 4.0) -> Luma:
    noise = np.random.default_rng(seed).normal(0, grey_levels, luma.shape)
    return np.clip(luma + noise, 0, 255).astype(np.uint8)


def cuts(pictures: Iterable[Luma], step_s: float = STEP_S) -> list[int]:
    """The pictures that are taken for cuts."""
    watch = SceneCutDetector()
    return [i for i, picture in enumerate(pictures) if watch.is_cut(picture, i * step_s)]


SCENE = photograph("obama")
CALM = [noisy(SCENE, i) for i in range(6)]


@pytest.mark.parametrize("name", ["astronaut", "biden", "grace_hopper"])
def test_another_scene_is_a_cut_once(name: str) -> None:
    after = [noisy(photograph(name), 10 + i) for i in range(4)]
    assert cuts([*CALM, *after]) == [len(CALM)]


def test_the_same_wall_with_another_person_is_a_cut() -> None:
    wall = np.linspace(90, 170, WIDTH)[None].repeat(HEIGHT, 0).astype(np.uint8)

    def before_the_wall(name: str) -> Luma:
        picture = wall.copy()
        picture[20:, 90:230] = photograph(name)[20:, 90:230]
        return picture

    first, second = before_the_wall("obama"), before_the_wall("astronaut")
    assert cuts([first, first, first, second, second]) == [3]


def _gain(factor: float, offset: float) -> Callable[[Luma], Luma]:
    return lambda luma: np.clip(luma * factor + offset, 0, 255).astype(np.uint8)


def _near_light(luma: Luma) -> Luma:
    """A flash lights what is near more than what is far."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    near = 1 + 1.5 * np.exp(-(((x - WIDTH / 2) / 90) ** 2) - ((y - HEIGHT / 2) / 70) ** 2)
    return np.clip(luma * near + 15, 0, 255).astype(np.uint8)


def _window(luma: Luma) -> Luma:
    """Light from one side."""
    return np.clip(luma * np.linspace(0.4, 1.8, WIDTH)[None], 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    "light",
    [_gain(1.5, 60), _gain(0.4, 0), _gain(0, 255), _near_light, _window],
    ids=["flash", "darker", "blown out", "near light", "window"],
)
@pytest.mark.parametrize("lasts", [1, 5])
def test_light_is_no_cut(light: Callable[[Luma], Luma], lasts: int) -> None:
    assert cuts([*CALM, *(light(picture) for picture in CALM[:lasts]), *CALM]) == []


@pytest.mark.parametrize("colour", [0, 255])
def test_a_cut_by_way_of_a_blank_picture_is_one(colour: int) -> None:
    blank = [noisy(np.full_like(SCENE, colour), i, 1.5) for i in range(3)]
    after = [photograph("astronaut")] * 2
    assert cuts([*CALM, *blank, *after]) == [len(CALM) + len(blank)]


@pytest.mark.parametrize("share", [0.02, 0.06])
def test_a_hand_that_shakes_is_no_cut(share: float) -> None:
    """By so much of the picture's width from one picture to the next."""
    random = np.random.default_rng(1)
    shaken = []
    for picture in (CALM * 5)[:30]:
        x, y = random.uniform(-share / 2, share / 2, 2) * WIDTH
        turn = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), random.uniform(-2, 2), 1)
        turn[:, 2] += x, y / 2
        moved = cv2.warpAffine(picture, turn, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE)
        shaken.append(np.asarray(cv2.blur(moved, (1 + int(abs(x) / 2), 1)), np.uint8))
    assert cuts([*CALM, *shaken, *CALM]) == []


@pytest.mark.parametrize("widths_s", [0.5, 1.0, 2.0])
def test_somebody_who_walks_by_close_to_the_camera_is_no_cut(widths_s: float) -> None:
    random = np.random.default_rng(2)
    coat = random.integers(20, 110, (8, 8)).astype(np.uint8)
    body = np.asarray(cv2.resize(coat, (int(0.7 * WIDTH), HEIGHT), interpolation=cv2.INTER_CUBIC))
    pictures = list(CALM)
    left = -body.shape[1]
    while left < WIDTH:
        picture = noisy(SCENE, len(pictures))
        begin, end = max(0, left), min(WIDTH, left + body.shape[1])
        picture[:, begin:end] = body[:, begin - left : end - left]
        pictures.append(picture)
        left += round(widths_s * WIDTH * STEP_S)
    assert cuts([*pictures, *CALM]) == []


def test_noise_in_the_dark_is_no_cut() -> None:
    assert cuts(noisy(np.full_like(SCENE, 20), i, 8.0) for i in range(20)) == []


def test_pictures_far_apart_are_not_compared() -> None:
    pictures = [SCENE, SCENE, photograph("astronaut")]
    assert cuts(pictures, MAX_GAP_S * 0.9) == [2]
    assert cuts(pictures, MAX_GAP_S * 1.1) == []


def test_a_picture_smaller_than_the_thumbnail_is_taken() -> None:
    assert cuts([np.zeros((16, 16), np.uint8)] * 3) == []
