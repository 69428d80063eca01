"""Scene cuts are distinguished from light, shaking hands and people."""

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


def portrait(name: str, shift: int = 0) -> Luma:
    """Return the luma of a sample portrait, shifted sideways."""
    luma = simplejpeg.decode_jpeg((SAMPLES_DIR / f"{name}.jpg").read_bytes(), "GRAY")[:, :, 0]
    width = luma.shape[1]
    wide = cv2.resize(luma[: width * HEIGHT // WIDTH], (WIDTH, HEIGHT))
    return np.asarray(np.roll(wide, shift, axis=1), np.uint8)


def noisy(luma: Luma, seed: int, gray_levels: float = 4.0) -> Luma:
    noise = np.random.default_rng(seed).normal(0, gray_levels, luma.shape)
    return np.clip(luma + noise, 0, 255).astype(np.uint8)


def cuts(frames: Iterable[Luma], step_s: float = STEP_S) -> list[int]:
    """Return the indexes of the frames that are detected as cuts."""
    detector = SceneCutDetector()
    return [i for i, frame in enumerate(frames) if detector.is_cut(frame, i * step_s)]


SCENE = portrait("obama")
STABLE = [noisy(SCENE, i) for i in range(6)]


@pytest.mark.parametrize("name", ["astronaut", "biden", "grace_hopper"])
def test_another_scene_is_a_cut_once(name: str) -> None:
    after = [noisy(portrait(name), 10 + i) for i in range(4)]
    assert cuts([*STABLE, *after]) == [len(STABLE)]


def test_the_same_wall_with_another_person_is_a_cut() -> None:
    wall = np.linspace(90, 170, WIDTH)[None].repeat(HEIGHT, 0).astype(np.uint8)

    def before_the_wall(name: str) -> Luma:
        frame = wall.copy()
        frame[20:, 90:230] = portrait(name)[20:, 90:230]
        return frame

    first, second = before_the_wall("obama"), before_the_wall("astronaut")
    assert cuts([first, first, first, second, second]) == [3]


def _gain(factor: float, offset: float) -> Callable[[Luma], Luma]:
    return lambda luma: np.clip(luma * factor + offset, 0, 255).astype(np.uint8)


def _near_light(luma: Luma) -> Luma:
    """A flash lights near objects more than distant ones."""
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
    assert cuts([*STABLE, *(light(frame) for frame in STABLE[:lasts]), *STABLE]) == []


@pytest.mark.parametrize("color", [0, 255])
def test_a_cut_through_blank_frames_is_detected(color: int) -> None:
    blank = [noisy(np.full_like(SCENE, color), i, 1.5) for i in range(3)]
    after = [portrait("astronaut")] * 2
    assert cuts([*STABLE, *blank, *after]) == [len(STABLE) + len(blank)]


@pytest.mark.parametrize("share", [0.02, 0.06])
def test_a_hand_that_shakes_is_no_cut(share: float) -> None:
    """`share`: shift from one frame to the next, relative to the width."""
    random = np.random.default_rng(1)
    shaken = []
    for frame in (STABLE * 5)[:30]:
        x, y = random.uniform(-share / 2, share / 2, 2) * WIDTH
        rotation = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), random.uniform(-2, 2), 1)
        rotation[:, 2] += x, y / 2
        moved = cv2.warpAffine(frame, rotation, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE)
        shaken.append(np.asarray(cv2.blur(moved, (1 + int(abs(x) / 2), 1)), np.uint8))
    assert cuts([*STABLE, *shaken, *STABLE]) == []


@pytest.mark.parametrize("widths_s", [0.5, 1.0, 2.0])
def test_a_person_who_walks_by_close_to_the_camera_is_no_cut(widths_s: float) -> None:
    random = np.random.default_rng(2)
    coat = random.integers(20, 110, (8, 8)).astype(np.uint8)
    body = np.asarray(cv2.resize(coat, (int(0.7 * WIDTH), HEIGHT), interpolation=cv2.INTER_CUBIC))
    frames = list(STABLE)
    left = -body.shape[1]
    while left < WIDTH:
        frame = noisy(SCENE, len(frames))
        begin, end = max(0, left), min(WIDTH, left + body.shape[1])
        frame[:, begin:end] = body[:, begin - left : end - left]
        frames.append(frame)
        left += round(widths_s * WIDTH * STEP_S)
    assert cuts([*frames, *STABLE]) == []


def test_noise_in_the_dark_is_no_cut() -> None:
    assert cuts(noisy(np.full_like(SCENE, 20), i, 8.0) for i in range(20)) == []


def test_frames_far_apart_are_not_compared() -> None:
    frames = [SCENE, SCENE, portrait("astronaut")]
    assert cuts(frames, MAX_GAP_S * 0.9) == [2]
    assert cuts(frames, MAX_GAP_S * 1.1) == []


def test_a_frame_smaller_than_the_thumbnail_is_accepted() -> None:
    assert cuts([np.zeros((16, 16), np.uint8)] * 3) == []
