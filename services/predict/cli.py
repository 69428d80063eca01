"""The `predict` command: pictures and videos in, a line a face out; annotated copies on request."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from services.common.errors import PictureError, StartError

if TYPE_CHECKING:
    from services.predict.predictor import FacePrediction

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
    from tqdm import tqdm

    from services.common.savedmodel import MODELS_DIR
    from services.predict import inputs, output
    from services.predict.copies import write_copy
    from services.predict.predictor import Predictor

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
    if header:
        print(header)
    failed = 0
    long_work = len(files) > 1 and sys.stderr.isatty() and not sys.stdout.isatty()
    for path in tqdm(files, unit="file", disable=not long_work):
        try:
            for given in inputs.read(path, arguments.every_s):
                faces = predictor.faces(given.picture)
                for line in lines(given.name, faces):
                    print(line)
                if arguments.out is not None:
                    write_copy(arguments.out, given, faces)
        except PictureError as error:
            failed += 1
            print(f"facestream: {error}; skipped", file=sys.stderr)
        except OSError as error:
            raise StartError(f"{arguments.out}: cannot write there: {error.strerror}") from None
    return 1 if failed else 0
