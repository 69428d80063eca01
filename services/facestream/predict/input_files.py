"""Read the images that a user names: files, folders, globs and frames of videos."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from facestream.common.core.errors import ImageError
from facestream.predict.predictor import read_image

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v")
_ROTATIONS = {
    90: cv2.ROTATE_90_COUNTERCLOCKWISE,
    180: cv2.ROTATE_180,
    270: cv2.ROTATE_90_CLOCKWISE,
}


@dataclass(frozen=True, slots=True)
class InputImage:
    """One image to predict on.

    path: the file; name: its name in results, with the time for a video frame; image: BGR uint8
    `[height, width, 3]`, upright.
    """

    path: Path
    name: str
    image: NDArray[np.uint8]


OnSkip = Callable[[ImageError], None]


def find_files(names: Sequence[str], on_skip: OnSkip) -> list[Path]:
    """Return the files that paths, folders (recursive) and globs name, in order, each once.

    `on_skip` receives an error for each name that matches nothing or may not be read.
    """
    files: dict[Path, None] = {}
    for name in names:
        try:
            files.update(dict.fromkeys(_expand(name)))
        except ImageError as error:
            on_skip(error)
        except OSError as error:  # permission denied, or a name that is too long
            on_skip(ImageError(f"{name}: {error.strerror}"))
    return list(files)


def _expand(name: str) -> list[Path]:
    path = Path(name)
    if path.is_dir():
        suffixes = IMAGE_SUFFIXES + VIDEO_SUFFIXES
        inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in suffixes)
        if not inside:
            raise ImageError(f"{name}: no image or video in this folder")
        return inside
    if path.exists():
        return [path]
    matches = sorted(m for m in map(Path, glob.glob(name, recursive=True)) if m.is_file())
    if not matches:
        raise ImageError(f"{name}: no such file, folder or pattern")
    return matches


def read_all_images(
    files: Iterable[Path], frame_interval_s: float, on_skip: OnSkip
) -> Iterator[InputImage]:
    """Yield the images of all files; `on_skip` receives an error for each unreadable file."""
    for path in files:
        try:
            yield from read_images(path, frame_interval_s)
        except ImageError as error:
            on_skip(error)


def read_images(path: Path, frame_interval_s: float) -> Iterator[InputImage]:
    """Yield an image file's image, or a video's frames `frame_interval_s` seconds apart; upright.

    Raises:
        ImageError: the file cannot be read.
    """
    if path.suffix.lower() not in VIDEO_SUFFIXES:
        yield InputImage(path, str(path), read_image(path))
        return
    try:
        # Metadata, such as a title or a phone's vendor, need not be UTF-8.
        with av.open(str(path), metadata_errors="replace") as video:
            if not video.streams.video:
                raise ImageError(f"{path}: contains no video stream")
            due_s = 0.0
            for frame in video.decode(video.streams.video[0]):
                time_s = frame.time or 0.0
                if time_s >= due_s:
                    due_s = time_s + frame_interval_s
                    yield InputImage(path, f"{path}@{time_s:.3f}s", _rotate_upright(frame))
    except (av.error.FFmpegError, ValueError) as error:
        reason = error.strerror if isinstance(error, av.error.FFmpegError) else error
        raise ImageError(f"{path}: cannot be read as a video: {reason}") from None


def _rotate_upright(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """Return the frame as BGR, rotated as its metadata says: phones film portrait rotated."""
    image = np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)
    counterclockwise = round(frame.rotation / 90) * 90 % 360
    if counterclockwise == 0:
        return image
    return np.asarray(cv2.rotate(image, _ROTATIONS[counterclockwise]), np.uint8)
