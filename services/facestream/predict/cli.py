"""The `predict` command: estimate age and gender of the faces in images and videos.

It prints one line per face and writes annotated copies on request.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from facestream.common.core.errors import ImageError, SettingsError, StartError

if TYPE_CHECKING:
    from facestream.predict.input_files import InputFile
    from facestream.predict.predictor import FacePrediction, Predictor

_BATCH_IMAGES = 4  # more images per inference batch need memory and save no time
_MIN_DETECTOR_PX, _MAX_DETECTOR_PX = 32, 4096

LineFormatter = Callable[[str, "Sequence[FacePrediction]"], list[str]]


def add_commands(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    """Add `facestream predict`."""
    parser = commands.add_parser(
        "predict",
        help="Estimate age and gender of the faces in images and videos",
        description="Estimate age and gender of the faces in images and videos.",
    )
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="image, video, folder (recursive) or glob pattern; - for a stream on standard input",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON object per face and line")
    form.add_argument("--csv", action="store_true", help="print CSV with a header")
    parser.add_argument(
        "--output-dir", type=Path, metavar="DIR", help="write annotated copies to this folder"
    )
    parser.add_argument(
        "--model", type=Path, metavar="DIR", help="exported model (default: the bundled age_gender)"
    )
    parser.add_argument(
        "--detector-size-px",
        type=int,
        default=640,
        metavar="N",
        help="longest image side for face detection; smaller is faster and misses small faces "
        "(default: 640)",
    )
    parser.add_argument(
        "--min-score",
        type=float,
        default=0.6,
        metavar="N",
        help="minimum detector score, 0-1 (default: 0.6); an image with large faces is searched "
        "at half size only, with a minimum of at least 0.8; below 0.6 every image is searched at "
        "full size",
    )
    parser.add_argument(
        "--frame-interval-s",
        type=float,
        default=1.0,
        metavar="N",
        help="seconds between the frames taken from a video; 0 = every frame (default: 1)",
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from facestream.common.core.paths import MODELS_DIR
    from facestream.common.core.process_lifecycle import disable_core_dumps
    from facestream.predict import formatters, input_files
    from facestream.predict.predictor import Predictor

    _check(arguments)
    disable_core_dumps()
    predictor = Predictor(
        arguments.model or MODELS_DIR / "age_gender",
        detector_size_px=arguments.detector_size_px,
        min_score=arguments.min_score,
    )
    format_lines: LineFormatter = formatters.table_lines
    header = formatters.table_header()
    if arguments.json:
        format_lines, header = formatters.json_lines, ""
    elif arguments.csv:
        format_lines, header = formatters.csv_lines, formatters.csv_header()
    report = _InputReport()
    files = input_files.find_files(arguments.paths, report.skip)
    with _standard_output():
        if files:
            if header:
                print(header)
            _predict_files(files, predictor, format_lines, arguments, report)
    report.print_summary()
    return 1 if report.errors else 0


class _InputReport:
    """Reporter and counter of the inputs that cannot be read."""

    def __init__(self) -> None:
        from facestream.predict.input_files import SkippedFiles

        self.errors = 0
        self._skipped_files = SkippedFiles()

    def skip(self, error: ImageError) -> None:
        """Report an input that cannot be read."""
        self.errors += 1
        self._write(f"{error}; skipped")

    def unreadable(self, file: InputFile, error: ImageError) -> None:
        """Report a file that cannot be read; count it only if it is neither image nor video."""
        from facestream.predict.video_reader import NotMediaError

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
        from tqdm import tqdm

        tqdm.write(f"facestream: {line}", file=sys.stderr)


def _check(arguments: argparse.Namespace) -> None:
    size_px = arguments.detector_size_px
    if not _MIN_DETECTOR_PX <= size_px <= _MAX_DETECTOR_PX:
        limits = f"{_MIN_DETECTOR_PX} to {_MAX_DETECTOR_PX}"
        raise SettingsError(f"--detector-size-px {size_px}: must be {limits}")
    if not 0 < arguments.min_score < 1:
        raise SettingsError(f"--min-score {arguments.min_score}: must be between 0 and 1")
    if not arguments.frame_interval_s >= 0:
        raise SettingsError(
            f"--frame-interval-s {arguments.frame_interval_s}: must be 0 (every frame) or more"
        )


def _predict_files(
    files: Sequence[InputFile],
    predictor: Predictor,
    format_lines: LineFormatter,
    arguments: argparse.Namespace,
    report: _InputReport,
) -> None:
    """Print the faces of all files and write their annotated copies."""
    from tqdm import tqdm

    from facestream.predict import input_files
    from facestream.predict.annotated_copies import common_parent, copy_path, write_annotated

    # A terminal that shows the results needs no progress bar.
    is_hidden = not sys.stderr.isatty() or sys.stdout.isatty()
    has_several = len(files) > 1
    file_progress = tqdm(files, unit=" files", disable=is_hidden or not has_several)
    images = input_files.read_all_images(file_progress, arguments.frame_interval_s, report)
    image_progress = iter(tqdm(images, unit=" images", disable=is_hidden or has_several))
    paths = [file.path for file in files]
    parent, originals = common_parent(paths), {path.resolve() for path in paths}
    while batch := list(islice(image_progress, _BATCH_IMAGES)):
        faces_per_image = predictor.faces_in_batch([source.image for source in batch])
        for source, faces in zip(batch, faces_per_image, strict=True):
            for line in format_lines(source.name, faces):
                print(line)
            if arguments.output_dir is None:
                continue
            target = copy_path(arguments.output_dir, parent, source)
            if target.resolve() in originals:
                raise SettingsError(
                    f"--output-dir {arguments.output_dir}: {target} would overwrite an original; "
                    "choose another folder"
                )
            try:
                write_annotated(target, source, faces)
            except OSError as error:
                raise StartError(
                    f"cannot write to {arguments.output_dir}: {error.strerror}"
                ) from None


@contextlib.contextmanager
def _standard_output() -> Iterator[None]:
    """End the block silently when the reader closes the pipe (`predict … | head`).

    Raises:
        StartError: the output cannot be written, such as on a full disk.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")  # file names are bytes
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        # Discard the buffer, or Python reports the same error again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise StartError(f"cannot write the results: {error.strerror}") from None
