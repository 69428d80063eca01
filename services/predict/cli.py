"""The `predict` command: pictures and videos in, a line a face out; annotated copies on request."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from services.common.errors import PictureError, SettingsError, StartError

if TYPE_CHECKING:
    from services.predict.predictor import FacePrediction, Predictor

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
    parser.add_argument("--min-score", type=float, default=0.6, help="of the detector, 0-1 (0.6)")
    parser.add_argument(
        "--every-s", type=float, default=1.0, help="seconds between frames of a video (1)"
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from services.common.savedmodel import MODELS_DIR
    from services.predict import inputs, output
    from services.predict.predictor import Predictor

    _check(arguments)
    files = inputs.find(arguments.paths)
    predictor = Predictor(
        arguments.model or MODELS_DIR / "age_gender",
        detect_px=arguments.detect_px,
        min_score=arguments.min_score,
    )
    lines: Lines = output.table_lines
    header = output.table_header()
    if arguments.json:
        lines, header = output.json_lines, ""
    elif arguments.csv:
        lines, header = output.csv_lines, output.csv_header()
    failed = 0
    with _to_standard_output():
        if header:
            print(header)
        failed = _answer(files, predictor, lines, arguments)
    return 1 if failed else 0


def _check(arguments: argparse.Namespace) -> None:
    if not _LEAST_DETECT_PX <= arguments.detect_px <= _MOST_DETECT_PX:
        limits = f"{_LEAST_DETECT_PX} to {_MOST_DETECT_PX}"
        raise SettingsError(f"--detect-px {arguments.detect_px}: must be {limits}")
    if not 0 < arguments.min_score < 1:
        raise SettingsError(f"--min-score {arguments.min_score}: must be between 0 and 1")
    if not arguments.every_s >= 0:
        raise SettingsError(f"--every-s {arguments.every_s}: must be 0 (each frame) or more")


def _answer(
    files: Sequence[Path], predictor: Predictor, lines: Lines, arguments: argparse.Namespace
) -> int:
    """Print the faces of all files and write their copies; returns how many could not be read."""
    from tqdm import tqdm

    from services.predict import inputs
    from services.predict.copies import copy_path, shared_folder, write_copy

    shared, failed = shared_folder(files), 0
    long_work = len(files) > 1 and sys.stderr.isatty() and not sys.stdout.isatty()
    for path in tqdm(files, unit="file", disable=not long_work):
        try:
            for given in inputs.read(path, arguments.every_s):
                faces = predictor.faces(given.picture)
                for line in lines(given.name, faces):
                    print(line)
                if arguments.out is None:
                    continue
                try:
                    write_copy(copy_path(arguments.out, shared, given), given, faces)
                except OSError as error:
                    reason = f"cannot write there: {error.strerror}"
                    raise StartError(f"{arguments.out}: {reason}") from None
        except PictureError as error:
            failed += 1
            print(f"facestream: {error}; skipped", file=sys.stderr)
    return failed


@contextlib.contextmanager
def _to_standard_output() -> Iterator[None]:
    """Ends the block quietly where nobody reads on (`predict … | head`).

    Raises:
        StartError: what is printed cannot be written: the disk is full.
    """
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        # What is still in the buffer goes nowhere, or Python would complain of it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise StartError(f"cannot write the answers: {error.strerror}") from None
