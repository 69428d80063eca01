"""Report on standard error what `predict` cannot read: files, damage, and a summary of folders."""

from __future__ import annotations

import sys

from tqdm import tqdm

from facestream.common.core.errors import ImageError
from facestream.predict.input_files import InputFile, SkippedFiles
from facestream.predict.video_reader import NotMediaError


class InputReport:
    """Reporter and counter of the inputs that cannot be read."""

    def __init__(self) -> None:
        self.errors = 0
        self._skipped_files = SkippedFiles()

    def skip(self, error: ImageError) -> None:
        """Report an input that cannot be read."""
        self.errors += 1
        self._write(f"{error}; skipped")

    def unreadable(self, file: InputFile, error: ImageError) -> None:
        """Report a file that cannot be read; count it only if it is neither image nor video."""
        if isinstance(error, NotMediaError) and file.may_be_no_media:
            self._skipped_files.add(file)
        else:
            self.skip(error)

    def damage(self, file: InputFile, frames: int) -> None:
        """Report the damaged frames of a video."""
        if frames:
            noun = "frame" if frames == 1 else "frames"
            self._write(f"{file.path}: {frames} damaged {noun} skipped")

    def print_summary(self) -> None:
        """Report the files of folders that are neither images nor videos."""
        for line in self._skipped_files.summary():
            self._write(line)

    def _write(self, line: str) -> None:
        tqdm.write(f"facestream: {line}", file=sys.stderr)
