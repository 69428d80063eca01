"""The `predict` command: pictures and videos in, a line a face out; annotated copies on request."""

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
    from facestream.predict.predictor import FacePrediction, Predictor

_TOGETHER = 4  # pictures whose faces share a batch; more would keep more memory and win no time
_LEAST_DETECT_PX, _MOST_DETECT_PX = 32, 4096

Lines = Callable[[str, "Sequence[FacePrediction]"], list[str]]


def add_commands(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    """Add `facestream predict`."""
    parser = commands.add_parser(
        "predict",
        help="age and gender of the faces in pictures and videos",
        description="Age and gender of the faces in pictures, folders, globs and videos.",
    )
    parser.add_argument("paths", nargs="+", metavar="PATH")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object a face and line")
    form.add_argument("--csv", action="store_true", help="comma-separated, with a header")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write annotated copies there")
    parser.add_argument("--model", type=Path, metavar="DIR", help="default: models/age_gender")
    parser.add_argument(
        "--detect-px", type=int, default=640, help="longest side when looking for faces (640)"
    )
    parser.add_argument(
        "--min-score",
        type=float,
        default=0.6,
        help="of the detector, 0-1 (0.6); at least 0.8 where faces are so large that a look at "
        "half size is enough; below 0.6 there is no such look",
    )
    parser.add_argument(
        "--every-s", type=float, default=1.0, help="seconds between frames of a video (1)"
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from facestream.common.core.paths import MODELS_DIR
    from facestream.predict import formatters, input_files
    from facestream.predict.predictor import Predictor

    _check(arguments)
    predictor = Predictor(
        arguments.model or MODELS_DIR / "age_gender",
        detect_px=arguments.detect_px,
        min_score=arguments.min_score,
    )
    lines: Lines = formatters.table_lines
    header = formatters.table_header()
    if arguments.json:
        lines, header = formatters.json_lines, ""
    elif arguments.csv:
        lines, header = formatters.csv_lines, formatters.csv_header()
    skipped = _Skipped()
    files = input_files.find(arguments.paths, skipped)
    with _to_standard_output():
        if files:
            if header:
                print(header)
            _answer(files, predictor, lines, arguments, skipped)
    return 1 if skipped.number else 0


class _Skipped:
    """Names what cannot be read, and counts it."""

    def __init__(self) -> None:
        self.number = 0

    def __call__(self, error: ImageError) -> None:
        from tqdm import tqdm

        self.number += 1
        tqdm.write(f"facestream: {error}; skipped", file=sys.stderr)


def _check(arguments: argparse.Namespace) -> None:
    if not _LEAST_DETECT_PX <= arguments.detect_px <= _MOST_DETECT_PX:
        limits = f"{_LEAST_DETECT_PX} to {_MOST_DETECT_PX}"
        raise SettingsError(f"--detect-px {arguments.detect_px}: must be {limits}")
    if not 0 < arguments.min_score < 1:
        raise SettingsError(f"--min-score {arguments.min_score}: must be between 0 and 1")
    if not arguments.every_s >= 0:
        raise SettingsError(f"--every-s {arguments.every_s}: must be 0 (each frame) or more")


def _answer(
    files: Sequence[Path],
    predictor: Predictor,
    lines: Lines,
    arguments: argparse.Namespace,
    skipped: _Skipped,
) -> None:
    """Print the faces of all files and write their copies."""
    from tqdm import tqdm

    from facestream.predict import input_files
    from facestream.predict.annotated_copies import common_parent, copy_path, write_annotated

    # Where the answers are seen, they are the progress.
    hidden = not sys.stderr.isatty() or sys.stdout.isatty()
    several = len(files) > 1
    shown_files = tqdm(files, unit=" files", disable=hidden or not several)
    pictures = input_files.read_all(shown_files, arguments.every_s, skipped)
    shown_pictures = iter(tqdm(pictures, unit=" pictures", disable=hidden or several))
    shared, originals = common_parent(files), {file.resolve() for file in files}
    while together := list(islice(shown_pictures, _TOGETHER)):
        found = predictor.faces_of_each([given.picture for given in together])
        for given, faces in zip(together, found, strict=True):
            for line in lines(given.name, faces):
                print(line)
            if arguments.out is None:
                continue
            target = copy_path(arguments.out, shared, given)
            if target.resolve() in originals:
                raise SettingsError(
                    f"--out {arguments.out}: {target} is one of the originals; "
                    "choose another folder"
                )
            try:
                write_annotated(target, given, faces)
            except OSError as error:
                reason = f"cannot write there: {error.strerror}"
                raise StartError(f"{arguments.out}: {reason}") from None


@contextlib.contextmanager
def _to_standard_output() -> Iterator[None]:
    """Ends the block quietly where nobody reads on (`predict … | head`).

    Raises:
        StartError: what is printed cannot be written: the disk is full.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")  # names of files are bytes
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        # What is still in the buffer goes nowhere, or Python would complain of it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise StartError(f"cannot write the answers: {error.strerror}") from None
