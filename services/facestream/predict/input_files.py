"""Find the files that a user names: files, folders, globs and standard input; read their images.

The content decides how an input is read, not its name.
"""

from __future__ import annotations

import glob
import io
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from facestream.common.core.errors import ImageError
from facestream.predict.image_decoder import (
    HEAD_BYTES,
    decode_image,
    is_apple_double,
    is_still_image,
)
from facestream.predict.video_reader import NotMediaError, VideoReader

STDIN = "-"
# In a folder, an unreadable file with such a suffix is an error; others are counted only.
_MEDIA_SUFFIXES = {
    *(".3gp", ".avi", ".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jpeg", ".jpg", ".m2ts"),
    *(".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".png", ".tif", ".tiff", ".ts"),
    *(".webm", ".webp", ".wmv"),
}
_IGNORED_NAMES = {".DS_Store", "Thumbs.db", "desktop.ini"}


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file to read.

    path: the file, `-` for standard input; folder: the folder it was found in, None if the user
    named the file.
    """

    path: Path
    folder: str | None = None

    @property
    def may_be_no_media(self) -> bool:
        """Whether it may be neither image nor video: found in a folder, with another suffix."""
        return self.folder is not None and self.path.suffix.lower() not in _MEDIA_SUFFIXES

    @property
    def is_stdin(self) -> bool:
        """Whether this is standard input."""
        return str(self.path) == STDIN


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


OnVideo = Callable[["InputFile", VideoReader], None]


class Report(Protocol):
    """Receiver of everything that cannot be read."""

    def unreadable(self, file: InputFile, error: ImageError) -> None:
        """Record a file that cannot be read."""

    def damage(self, file: InputFile, frames: int) -> None:
        """Record the number of damaged frames of a video, 0 for none."""


class SkippedFiles:
    """Counts of the files in folders that are neither images nor videos, by folder and suffix."""

    def __init__(self) -> None:
        self._counts: dict[str, Counter[str]] = {}

    def add(self, file: InputFile) -> None:
        """Count a file of a folder."""
        assert file.folder is not None
        suffix = file.path.suffix.lower() or "without suffix"
        self._counts.setdefault(file.folder, Counter())[suffix] += 1

    def summary(self) -> list[str]:
        """Return a line for each folder: how many files of which suffix were skipped, and why."""
        lines = []
        for folder, counts in self._counts.items():
            total = sum(counts.values())
            kinds = ", ".join(f"{count} {suffix}" for suffix, count in counts.most_common())
            noun = "file" if total == 1 else "files"
            lines.append(f"{folder}: {total} {noun} skipped: neither image nor video ({kinds})")
        return lines


def find_files(names: Sequence[str], on_skip: OnSkip) -> list[InputFile]:
    """Return the files that paths, folders (recursive) and globs name, in order, each once.

    `on_skip` receives an error for each name that matches nothing or may not be read.
    """
    files: dict[Path, InputFile] = {}
    for name in names:
        try:
            for file in _expand(name):
                files.setdefault(file.path, file)
        except ImageError as error:
            on_skip(error)
        except OSError as error:  # permission denied, or a name that is too long
            on_skip(ImageError(f"{name}: {error.strerror}"))
    return list(files.values())


def _expand(name: str) -> list[InputFile]:
    path = Path(name)
    if name == STDIN:
        return [InputFile(path)]
    if path.is_dir():
        inside = sorted(p for p in path.rglob("*") if p.is_file() and not _is_ignored(p))
        if not inside:
            raise ImageError(f"{name}: no image or video in this folder")
        return [InputFile(p, name) for p in inside]
    if path.exists():
        return [InputFile(path)]
    matches = sorted(m for m in map(Path, glob.glob(name, recursive=True)) if m.is_file())
    if not matches:
        raise ImageError(f"{name}: no such file, folder or pattern")
    return [InputFile(match) for match in matches if not _is_ignored(match)]


def _is_ignored(path: Path) -> bool:
    """Return whether an operating system writes such files next to a user's own."""
    return path.name in _IGNORED_NAMES or path.name.startswith("._")


def open_input(file: InputFile) -> InputImage | VideoReader:
    """Open a file: return its image, or a reader of its video that the caller must close.

    Raises:
        NotMediaError: the content is neither an image nor a video.
        ImageError: the file cannot be read, or is damaged.
    """
    name = str(file.path)
    try:
        stream = _open_stdin() if file.is_stdin else file.path.open("rb")
        head = stream.read(HEAD_BYTES)
        if not head:
            raise ImageError(f"{name}: not an image, or damaged")
        if is_apple_double(head):
            raise NotMediaError(f"{name}: holds attributes of macOS, not an image")
        source = _Replayed(head, stream) if file.is_stdin else stream
        if not file.is_stdin:
            stream.seek(0)
        if is_still_image(head):
            with stream:
                data = source.read() if not file.is_stdin else head + stream.read()
            return InputImage(file.path, name, decode_image(data, name))
        reader = VideoReader(cast(BinaryIO, source), name)
    except OSError as error:
        raise ImageError(f"{name}: {error.strerror}") from None
    if not reader.is_single_image:
        return reader
    with reader:
        return InputImage(file.path, name, next(reader.frames()).image)


def frame_name(path: Path, time_s: float) -> str:
    """Return the name of a video frame in results."""
    return f"{path}@{time_s:.3f}s"


def read_all_images(
    files: Iterable[InputFile],
    frame_interval_s: float,
    report: Report,
    on_video: OnVideo | None = None,
) -> Iterator[InputImage]:
    """Yield the images of all files; `report` receives what cannot be read.

    Args:
        files: in the order of the results.
        frame_interval_s: seconds between the frames taken from a video.
        report: receives errors and damage.
        on_video: reads each video instead, after all images before it have been yielded; None
            yields the frames of videos as images.
    """
    for file in files:
        try:
            opened = open_input(file)
            if isinstance(opened, InputImage):
                yield opened
                continue
            with opened as reader:
                try:
                    if on_video is not None:
                        on_video(file, reader)
                        continue
                    for frame in reader.frames(frame_interval_s):
                        name = frame_name(file.path, float(frame.time_s))
                        yield InputImage(file.path, name, frame.image)
                finally:
                    report.damage(file, reader.damaged)
        except ImageError as error:
            report.unreadable(file, error)


def _open_stdin() -> BinaryIO:
    return sys.stdin.buffer


class _Replayed(io.RawIOBase):
    """Stream that yields the bytes read ahead first; it cannot seek."""

    def __init__(self, head: bytes, stream: BinaryIO) -> None:
        super().__init__()
        self._head, self._stream = head, stream

    def read(self, size: int = -1) -> bytes:
        if not self._head:
            reader = getattr(self._stream, "read1", self._stream.read)
            return bytes(reader(size))
        chunk, self._head = (
            (self._head[:size], self._head[size:]) if size >= 0 else (self._head, b"")
        )
        return chunk

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False
