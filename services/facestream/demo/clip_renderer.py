"""Renders the demo camera's clip from the pictures in `samples/`.

Photographs of people go in; an H.264 file comes out, as a phone would send it: 720p, 15 pictures
a second, no B-frames, a key picture each second. People walk in, stay and leave, in front of a
plain wall, seen by an unsteady hand; at times several at once, at times nobody. Photographs cannot
walk past each other as people do, so nobody crosses another. `SCRIPT` says who and when.
"""

from __future__ import annotations

import hashlib
import math
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from facestream.common.core.errors import ImageError, StartError
from facestream.common.core.paths import SAMPLES_DIR

WIDTH, HEIGHT, FPS = 1280, 720, 15
LENGTH_S = 24.0

_WALK_S = 1.6  # from out of the picture to one's place
_SHAKE_PX, _SWAY_HZ, _TREMOR_HZ = 7.0, 0.35, 1.7
_BELOW_PX = 24  # photographs end below the picture, whatever the hand and the walk do
_FEATHER = 0.14  # of a picture's width, so that no frame shows around it
_WALL = (168, 176, 180)  # BGR
_SENSOR_NOISE = 1.5  # grey levels, standard deviation
_NOISE_MEAN = 5.0  # so that the noise needs no sign
_NOISE_ROOM = 64  # rows by which the noise field is taller than the picture
_QUALITY = "25"  # x264 CRF
_RECIPE = 5  # to be raised when the drawing changes, so that cached clips are made anew

Picture = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Appearance:
    """One person's visit: who, from when to when, where, how large.

    x: centre of the photograph when in place, and height of the photograph, as fractions of the
    picture's; from_left: the side where they walk in; returns: leaves there too, not on the other.
    """

    sample: str
    enter_s: float
    leave_s: float
    x: float
    height: float
    from_left: bool
    zoom: float = 1.0  # factor on `height` reached at the end of the visit
    returns: bool = False
    away: tuple[tuple[float, float], ...] = ()  # from when to when they are out of sight meanwhile


SCRIPT = (
    Appearance("astronaut", 0.4, 6.8, 0.42, 0.84, True, 1.15, returns=True),
    Appearance("obama", 4.0, 10.8, 0.72, 0.80, False, returns=True),
    Appearance("grace_hopper", 7.4, 14.0, 0.30, 0.86, True, 1.1, returns=True),
    Appearance("grace_hopper", 14.4, 23.4, 0.39, 0.68, True, returns=True),
    Appearance("obama", 14.6, 23.2, 0.62, 0.64, False, returns=True),
    Appearance("biden", 16.2, 22.6, 0.14, 0.66, True, returns=True),
    Appearance("astronaut", 16.6, 22.4, 0.86, 0.72, False, returns=True),
)


def place(visit: Appearance, at_s: float) -> tuple[float, float, float] | None:
    """Centre x, y and height of a visitor's photograph in pixels; None when out of the picture."""
    if not visit.enter_s <= at_s <= visit.leave_s:
        return None
    if any(begin <= at_s < end for begin, end in visit.away):
        return None
    arriving = _ease((at_s - visit.enter_s) / _WALK_S)
    leaving = _ease((visit.leave_s - at_s) / _WALK_S)
    progress = (at_s - visit.enter_s) / (visit.leave_s - visit.enter_s)
    height = visit.height * HEIGHT * (1 + (visit.zoom - 1) * progress)
    side = -1 if visit.from_left else 1
    if visit.returns:
        way_px = (visit.x if visit.from_left else 1 - visit.x) * WIDTH + height / 2
        away_px = side * way_px * (1 - min(arriving, leaving))
    else:
        away_px = side * WIDTH * (leaving - arriving)
    bob = 6 * math.sin(math.tau * 1.6 * at_s) * (1 - min(arriving, leaving))
    return visit.x * WIDTH + away_px, HEIGHT + _BELOW_PX - height / 2 + bob, height


def hand_shake(at_s: float) -> tuple[float, float]:
    """How far the hand has moved the picture, in pixels; the same at both ends of the loop."""

    def wave(hz: float, phase: float) -> float:
        turns = round(hz * LENGTH_S)  # whole turns only: no jump where the clip starts over
        return math.sin(math.tau * turns * at_s / LENGTH_S + phase)

    x = _SHAKE_PX * wave(_SWAY_HZ, 0.0) + 0.15 * _SHAKE_PX * wave(_TREMOR_HZ, 1.0)
    y = 0.7 * _SHAKE_PX * wave(_SWAY_HZ * 1.3, 2.0) + 0.15 * _SHAKE_PX * wave(_TREMOR_HZ, 0.5)
    return x, y


def clip_path(cache: Path, samples: Path = SAMPLES_DIR) -> Path:
    """Where the clip of these samples and this script is kept."""
    digest = hashlib.sha256(repr((_RECIPE, WIDTH, HEIGHT, FPS, LENGTH_S)).encode())
    for visit in SCRIPT:
        digest.update(repr(astuple(visit)).encode())
    for name in _names():
        digest.update(_sample_file(samples, name).read_bytes())
    return cache / f"demo-{digest.hexdigest()[:12]}.mp4"


def ensure_clip(
    cache: Path, progress: Callable[[float], None], samples: Path = SAMPLES_DIR
) -> Path:
    """The clip's file, rendered on first use.

    Args:
        cache: folder that keeps it; made if missing.
        progress: told the share done, 0-1, while rendering.

    Raises:
        StartError: the folder cannot be written or the disk is full.
        ImageError: a sample is missing or no picture.
    """
    path = clip_path(cache, samples)
    if path.exists():
        return path
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=cache, suffix=".mp4", delete=False) as file:
            part = Path(file.name)
        try:
            render(part, progress, samples)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise StartError(f"{cache}: cannot keep the demo clip: {error.strerror or error}") from None
    return path


def render(
    path: Path,
    progress: Callable[[float], None],
    samples: Path = SAMPLES_DIR,
    script: Sequence[Appearance] = SCRIPT,
    length_s: float | None = None,
    fps: int = FPS,
) -> None:
    """Draw and encode a whole clip: the demo's, or one of another script.

    Raises:
        ImageError: a sample is missing or no picture.
        OSError: the file cannot be written.
    """
    scene, frames = _Scene(samples, script), round((length_s or LENGTH_S) * fps)
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream(
            "libx264",
            rate=fps,
            options={
                "preset": "ultrafast",
                "tune": "zerolatency",
                "profile": "baseline",
                "crf": _QUALITY,
                "threads": "0",
                "x264-params": f"keyint={fps}:min-keyint={fps}:scenecut=0:repeat-headers=1",
            },
        )
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.time_base = Fraction(1, fps)
        for i in range(frames):
            planes = cv2.cvtColor(scene.draw(i / fps), cv2.COLOR_BGR2YUV_I420)
            picture = av.VideoFrame.from_ndarray(np.asarray(planes, np.uint8), format="yuv420p")
            picture.pts = i
            container.mux(stream.encode(picture))
            progress((i + 1) / frames)
        container.mux(stream.encode(None))


def _names() -> list[str]:
    return sorted({visit.sample for visit in SCRIPT})


def _sample_file(samples: Path, name: str) -> Path:
    path = samples / f"{name}.jpg"
    if not path.is_file():
        raise ImageError(f"{path}: missing; the demo camera is made from it")
    return path


def _read(samples: Path, name: str) -> Picture:
    path = _sample_file(samples, name)
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise ImageError(f"{path}: not a picture that can be read")
    return np.asarray(picture, np.uint8)


@dataclass(frozen=True, slots=True)
class _CutOut:
    """A photograph that fades at its edges.

    colours: times opacity, uint8 `[height, width, 3]`; holes: 255 minus opacity, uint8
    `[height, width]`.
    """

    colours: Picture
    holes: Picture

    @classmethod
    def of(cls, photograph: Picture) -> _CutOut:
        height, width = photograph.shape[:2]
        feather = _FEATHER * width
        x = np.arange(width, dtype=np.float32)
        y = np.arange(height, dtype=np.float32)
        across = np.clip(np.minimum(x, width - 1 - x) / feather, 0, 1)
        down = np.clip(y / (feather / 3), 0, 1)
        edge = np.outer(down, across)
        opacity = edge * edge * (3 - 2 * edge)
        return cls(
            np.rint(photograph * opacity[:, :, None]).astype(np.uint8),
            np.rint(255 * (1 - opacity)).astype(np.uint8),
        )


class _Scene:
    """Everything that is drawn again for each picture."""

    def __init__(self, samples: Path, script: Sequence[Appearance] = SCRIPT) -> None:
        self._script = script
        self._people = {name: _CutOut.of(_read(samples, name)) for name in _names()}
        self._border = math.ceil(2 * _SHAKE_PX)
        self._random = np.random.default_rng(1)
        self._wall = self._lit_wall()
        noise = self._random.normal(_NOISE_MEAN, _SENSOR_NOISE, (HEIGHT + _NOISE_ROOM, WIDTH, 3))
        self._noise = np.rint(np.clip(noise, 0, 255)).astype(np.uint8)

    def draw(self, at_s: float) -> Picture:
        """The picture at a time, BGR uint8 `[HEIGHT, WIDTH, 3]`."""
        dx, dy = hand_shake(at_s)
        left, top = self._border - round(dx), self._border - round(dy)
        canvas = self._wall[top : top + HEIGHT, left : left + WIDTH].copy()
        for visit in self._script:
            where = place(visit, at_s)
            if where is not None:
                x, y, height = where
                _paste(canvas, self._people[visit.sample], x + dx, y + dy, height)
        first = int(self._random.integers(_NOISE_ROOM))
        grain = self._noise[first : first + HEIGHT]
        return np.asarray(cv2.add(canvas, grain), np.uint8)

    def _lit_wall(self) -> Picture:
        """A plain wall, larger than the picture by what the hand shakes, lit from one side."""
        height, width = HEIGHT + 2 * self._border, WIDTH + 2 * self._border
        light = np.linspace(1.06, 0.86, width, dtype=np.float32)[None, :, None]
        shade = np.linspace(1.03, 0.93, height, dtype=np.float32)[:, None, None]
        stains = self._random.normal(0, 1.5, (height // 8 + 1, width // 8 + 1)).astype(np.float32)
        plaster = np.asarray(cv2.resize(stains, (width, height), interpolation=cv2.INTER_CUBIC))
        wall = np.array(_WALL, np.float32) * light * shade + plaster[:, :, None]
        lit: Picture = np.clip(wall, 0, 255).astype(np.uint8)
        return lit


def _paste(canvas: Picture, person: _CutOut, x: float, y: float, height: float) -> None:
    """Blend a photograph in, centred at x, y; only the part of the canvas that it touches."""
    scale = height / person.colours.shape[0]
    width = person.colours.shape[1] * scale
    left, top = max(0, math.floor(x - width / 2)), max(0, math.floor(y - height / 2))
    right, bottom = min(WIDTH, math.ceil(x + width / 2)), min(HEIGHT, math.ceil(y + height / 2))
    if right <= left or bottom <= top:
        return
    size = (right - left, bottom - top)
    matrix = np.array(
        [[scale, 0, x - width / 2 - left], [0, scale, y - height / 2 - top]], np.float64
    )
    colours = cv2.warpAffine(person.colours, matrix, size)
    hole = cv2.warpAffine(person.holes, matrix, size, borderValue=(255,))
    holes = cv2.merge([hole, hole, hole])
    region = canvas[top:bottom, left:right]
    region[:] = cv2.add(cv2.multiply(region, holes, scale=1 / 255), colours)


def _ease(share: float) -> float:
    share = min(1.0, max(0.0, share))
    return share * share * (3 - 2 * share)
