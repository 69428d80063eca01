"""Render the demo camera's clip from the photographs in `samples/`.

The result is an H.264 file as a phone sends it: 720p, 15 fps, no B-frames, one keyframe per second.
People walk in, stay and leave in front of a plain wall, filmed by a shaking camera. Up to four are
in view at once, sometimes none. Photographs cannot overlap as walking people do, so their paths
never cross. `SCRIPT` lists the appearances.
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

_WALK_S = 1.6  # from outside the frame to the final position
_SHAKE_PX, _SWAY_HZ, _TREMOR_HZ = 7.0, 0.35, 1.7
_BELOW_PX = 24  # photographs reach below the frame, so that shaking never shows their lower edge
_FEATHER = 0.14  # faded part of a photograph's width, so that no border is visible
_WALL = (168, 176, 180)  # BGR
_SENSOR_NOISE = 1.5  # gray levels, standard deviation
_NOISE_MEAN = 5.0  # keeps the noise positive, for unsigned arithmetic
_NOISE_EXTRA_ROWS = 64  # rows by which the noise field is taller than the frame
_QUALITY = "25"  # x264 CRF
_RENDER_VERSION = 5  # increase it when the rendering changes, so that cached clips are replaced

Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Appearance:
    """Appearance of one person: photograph, time, position and size.

    sample: name of the photograph; enter_s, leave_s: seconds from the start of the clip; x: final
    center, and height, of the photograph as fractions of the frame; from_left: the side of the
    entry; zoom: factor on `height` at the end; returns: leave on the side of the entry; absences:
    from when to when the person is hidden, in seconds.
    """

    sample: str
    enter_s: float
    leave_s: float
    x: float
    height: float
    from_left: bool
    zoom: float = 1.0
    returns: bool = False
    absences: tuple[tuple[float, float], ...] = ()


SCRIPT = (
    Appearance("astronaut", 0.4, 6.8, 0.42, 0.84, True, 1.15, returns=True),
    Appearance("obama", 4.0, 10.8, 0.72, 0.80, False, returns=True),
    Appearance("grace_hopper", 7.4, 14.0, 0.30, 0.86, True, 1.1, returns=True),
    Appearance("grace_hopper", 14.4, 23.4, 0.39, 0.68, True, returns=True),
    Appearance("obama", 14.6, 23.2, 0.62, 0.64, False, returns=True),
    Appearance("biden", 16.2, 22.6, 0.14, 0.66, True, returns=True),
    Appearance("astronaut", 16.6, 22.4, 0.86, 0.72, False, returns=True),
)


def photo_position(appearance: Appearance, at_s: float) -> tuple[float, float, float] | None:
    """Return center x, y and height of the photograph in pixels; None while it is not in view."""
    if not appearance.enter_s <= at_s <= appearance.leave_s:
        return None
    if any(begin <= at_s < end for begin, end in appearance.absences):
        return None
    arriving = _ease((at_s - appearance.enter_s) / _WALK_S)
    leaving = _ease((appearance.leave_s - at_s) / _WALK_S)
    progress = (at_s - appearance.enter_s) / (appearance.leave_s - appearance.enter_s)
    height = appearance.height * HEIGHT * (1 + (appearance.zoom - 1) * progress)
    side = -1 if appearance.from_left else 1
    if appearance.returns:
        x = appearance.x if appearance.from_left else 1 - appearance.x
        offset_px = side * (x * WIDTH + height / 2) * (1 - min(arriving, leaving))
    else:
        offset_px = side * WIDTH * (leaving - arriving)
    bob = 6 * math.sin(math.tau * 1.6 * at_s) * (1 - min(arriving, leaving))
    return appearance.x * WIDTH + offset_px, HEIGHT + _BELOW_PX - height / 2 + bob, height


def camera_shake(at_s: float) -> tuple[float, float]:
    """Return the displacement of the frame in pixels; equal at both ends of the loop."""

    def wave(hz: float, phase: float) -> float:
        turns = round(hz * LENGTH_S)  # whole periods, so that the loop has no jump
        return math.sin(math.tau * turns * at_s / LENGTH_S + phase)

    x = _SHAKE_PX * wave(_SWAY_HZ, 0.0) + 0.15 * _SHAKE_PX * wave(_TREMOR_HZ, 1.0)
    y = 0.7 * _SHAKE_PX * wave(_SWAY_HZ * 1.3, 2.0) + 0.15 * _SHAKE_PX * wave(_TREMOR_HZ, 0.5)
    return x, y


def clip_path(cache: Path, samples: Path = SAMPLES_DIR) -> Path:
    """Return the cache file of the clip of these samples and this script."""
    digest = hashlib.sha256(repr((_RENDER_VERSION, WIDTH, HEIGHT, FPS, LENGTH_S)).encode())
    for appearance in SCRIPT:
        digest.update(repr(astuple(appearance)).encode())
    for name in _sample_names():
        digest.update(_sample_file(samples, name).read_bytes())
    return cache / f"demo-{digest.hexdigest()[:12]}.mp4"


def ensure_clip(
    cache: Path, progress: Callable[[float], None], samples: Path = SAMPLES_DIR
) -> Path:
    """Return the clip's file; render it on first use.

    Args:
        cache: folder of rendered clips; created if missing.
        progress: receives the completed share, 0-1, while rendering.
        samples: folder of the photographs.

    Raises:
        StartError: the folder cannot be written or the disk is full.
        ImageError: a sample is missing or not an image.
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
        raise StartError(
            f"cannot write the demo clip to {cache}: {error.strerror or error}"
        ) from None
    return path


def render(
    path: Path,
    progress: Callable[[float], None],
    samples: Path = SAMPLES_DIR,
    script: Sequence[Appearance] = SCRIPT,
    length_s: float | None = None,
    fps: int = FPS,
) -> None:
    """Render and encode a clip: the demo clip, or one of another script.

    Raises:
        ImageError: a sample is missing or not an image.
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
            frame = av.VideoFrame.from_ndarray(np.asarray(planes, np.uint8), format="yuv420p")
            frame.pts = i
            container.mux(stream.encode(frame))
            progress((i + 1) / frames)
        container.mux(stream.encode(None))


def _sample_names() -> list[str]:
    return sorted({appearance.sample for appearance in SCRIPT})


def _sample_file(samples: Path, name: str) -> Path:
    path = samples / f"{name}.jpg"
    if not path.is_file():
        raise ImageError(f"{path}: missing; the demo camera needs it")
    return path


def _read_sample(samples: Path, name: str) -> Image:
    path = _sample_file(samples, name)
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise ImageError(f"{path}: not an image, or damaged")
    return np.asarray(image, np.uint8)


@dataclass(frozen=True, slots=True)
class _CutOut:
    """Photograph with faded edges.

    colors: premultiplied by opacity, BGR uint8 `[height, width, 3]`; transparency: 255 minus
    opacity, uint8 `[height, width]`.
    """

    colors: Image
    transparency: Image

    @classmethod
    def from_photograph(cls, photograph: Image) -> _CutOut:
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
    """Everything that is the same in each frame: wall, noise and photographs."""

    def __init__(self, samples: Path, script: Sequence[Appearance] = SCRIPT) -> None:
        self._script = script
        self._people = {
            name: _CutOut.from_photograph(_read_sample(samples, name)) for name in _sample_names()
        }
        self._border = math.ceil(2 * _SHAKE_PX)
        self._random = np.random.default_rng(1)
        self._wall = self._lit_wall()
        noise = self._random.normal(
            _NOISE_MEAN, _SENSOR_NOISE, (HEIGHT + _NOISE_EXTRA_ROWS, WIDTH, 3)
        )
        self._noise = np.rint(np.clip(noise, 0, 255)).astype(np.uint8)

    def draw(self, at_s: float) -> Image:
        """Return the frame at a time, BGR uint8 `[HEIGHT, WIDTH, 3]`."""
        dx, dy = camera_shake(at_s)
        left, top = self._border - round(dx), self._border - round(dy)
        canvas = self._wall[top : top + HEIGHT, left : left + WIDTH].copy()
        for appearance in self._script:
            position = photo_position(appearance, at_s)
            if position is not None:
                x, y, height = position
                _paste(canvas, self._people[appearance.sample], x + dx, y + dy, height)
        first = int(self._random.integers(_NOISE_EXTRA_ROWS))
        grain = self._noise[first : first + HEIGHT]
        return np.asarray(cv2.add(canvas, grain), np.uint8)

    def _lit_wall(self) -> Image:
        """Return a wall lit from one side, larger than the frame by the range of the shake."""
        height, width = HEIGHT + 2 * self._border, WIDTH + 2 * self._border
        light = np.linspace(1.06, 0.86, width, dtype=np.float32)[None, :, None]
        shade = np.linspace(1.03, 0.93, height, dtype=np.float32)[:, None, None]
        stains = self._random.normal(0, 1.5, (height // 8 + 1, width // 8 + 1)).astype(np.float32)
        plaster = np.asarray(cv2.resize(stains, (width, height), interpolation=cv2.INTER_CUBIC))
        wall = np.array(_WALL, np.float32) * light * shade + plaster[:, :, None]
        lit: Image = np.clip(wall, 0, 255).astype(np.uint8)
        return lit


def _paste(canvas: Image, person: _CutOut, x: float, y: float, height: float) -> None:
    """Blend a photograph into the canvas, centered at x, y."""
    scale = height / person.colors.shape[0]
    width = person.colors.shape[1] * scale
    left, top = max(0, math.floor(x - width / 2)), max(0, math.floor(y - height / 2))
    right, bottom = min(WIDTH, math.ceil(x + width / 2)), min(HEIGHT, math.ceil(y + height / 2))
    if right <= left or bottom <= top:
        return
    size = (right - left, bottom - top)
    matrix = np.array(
        [[scale, 0, x - width / 2 - left], [0, scale, y - height / 2 - top]], np.float64
    )
    colors = cv2.warpAffine(person.colors, matrix, size)
    mask = cv2.warpAffine(person.transparency, matrix, size, borderValue=(255,))
    transparency = cv2.merge([mask, mask, mask])
    region = canvas[top:bottom, left:right]
    region[:] = cv2.add(cv2.multiply(region, transparency, scale=1 / 255), colors)


def _ease(share: float) -> float:
    share = min(1.0, max(0.0, share))
    return share * share * (3 - 2 * share)
