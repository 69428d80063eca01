"""What the user named, as pictures one after the other: files, folders, globs, frames of videos."""

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
from facestream.predict.predictor import read_picture

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
VIDEOS = (".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v")
_TURNS = {90: cv2.ROTATE_90_COUNTERCLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_CLOCKWISE}


@dataclass(frozen=True, slots=True)
class Input:
    """One picture: where it is from, and its name in answers (a video's frame has its time)."""

    path: Path
    name: str
    picture: NDArray[np.uint8]


Skip = Callable[[ImageError], None]


def find(named: Sequence[str], skip: Skip) -> list[Path]:
    """Files meant by paths, folders (searched through) and globs, in order, each once.

    A name that fits nothing, or may not be looked at, is told to `skip`.
    """
    files: dict[Path, None] = {}
    for text in named:
        try:
            files.update(dict.fromkeys(_meant_by(text)))
        except ImageError as error:
            skip(error)
        except OSError as error:  # a folder that is closed to us, a name that is too long
            skip(ImageError(f"{text}: {error.strerror}"))
    return list(files)


def _meant_by(text: str) -> list[Path]:
    path = Path(text)
    if path.is_dir():
        inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in PICTURES + VIDEOS)
        if not inside:
            raise ImageError(f"{text}: no picture or video in this folder")
        return inside
    if path.exists():
        return [path]
    matches = sorted(m for m in map(Path, glob.glob(text, recursive=True)) if m.is_file())
    if not matches:
        raise ImageError(f"{text}: no such file, folder or pattern")
    return matches


def read_all(files: Iterable[Path], every_s: float, skip: Skip) -> Iterator[Input]:
    """What `read` gives of each file; one that cannot be read is told to `skip`."""
    for path in files:
        try:
            yield from read(path, every_s)
        except ImageError as error:
            skip(error)


def read(path: Path, every_s: float) -> Iterator[Input]:
    """The picture of a file, or a video's frames `every_s` seconds apart; all of them upright.

    Raises:
        ImageError: it cannot be read.
    """
    if path.suffix.lower() not in VIDEOS:
        yield Input(path, str(path), read_picture(path))
        return
    try:
        # What a title or a phone's maker has written into the file need not be UTF-8.
        with av.open(str(path), metadata_errors="replace") as video:
            if not video.streams.video:
                raise ImageError(f"{path}: holds no video")
            due_s = 0.0
            for frame in video.decode(video.streams.video[0]):
                at_s = frame.time or 0.0
                if at_s >= due_s:
                    due_s = at_s + every_s
                    yield Input(path, f"{path}@{at_s:.3f}s", _upright(frame))
    except (av.error.FFmpegError, ValueError) as error:
        reason = error.strerror if isinstance(error, av.error.FFmpegError) else error
        raise ImageError(f"{path}: cannot be read as a video: {reason}") from None


def _upright(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """The frame as BGR, turned as the file says: a phone held upright films lying down."""
    picture = np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)
    counterclockwise = round(frame.rotation / 90) * 90 % 360
    if counterclockwise == 0:
        return picture
    return np.asarray(cv2.rotate(picture, _TURNS[counterclockwise]), np.uint8)
