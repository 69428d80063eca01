"""The `predict` command: estimate age and gender of the faces in images and videos.

It prints one line per face of an image and one per person of a video. It writes annotated copies
on request.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from facestream.common.core.errors import SettingsError, StartError

if TYPE_CHECKING:
    from facestream.predict.input_files import InputFile, InputImage
    from facestream.predict.input_report import InputReport
    from facestream.predict.person_tracker import PersonPrediction
    from facestream.predict.predictor import FacePrediction, Predictor
    from facestream.predict.video_reader import VideoReader

_BATCH_IMAGES = 4  # more images per inference batch need memory and save no time
_MIN_DETECTOR_PX, _MAX_DETECTOR_PX = 32, 4096

# Five detections per second, as live: a face moves less than its size between two of them.
_TRACKING_INTERVAL_S = 0.2
_TIME_TOLERANCE_S = 1e-4


@dataclass(frozen=True)
class _Format:
    """Formatters of one output format."""

    header: str
    faces: Callable[[str, Sequence[FacePrediction]], list[str]]
    people: Callable[[str, Sequence[PersonPrediction]], list[str]]


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
        "--output-dir",
        type=Path,
        metavar="DIR",
        help="write annotated copies to this folder: JPEG of images, H.264 of videos",
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
        metavar="N",
        help="seconds between the frames taken from a video; 0 = every frame (default: 0.2, with "
        "--per-frame 1)",
    )
    parser.add_argument(
        "--per-frame",
        action="store_true",
        help="print every face of every frame taken from a video, not one line per person",
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from facestream.common.core.paths import MODELS_DIR
    from facestream.common.core.process_lifecycle import disable_core_dumps
    from facestream.predict import input_files
    from facestream.predict.input_report import InputReport
    from facestream.predict.predictor import Predictor

    _check(arguments)
    disable_core_dumps()
    predictor = Predictor(
        arguments.model or MODELS_DIR / "age_gender",
        detector_size_px=arguments.detector_size_px,
        min_score=arguments.min_score,
    )
    report = InputReport()
    files = input_files.find_files(arguments.paths, report.skip)
    with _standard_output():
        if files:
            _Run(files, predictor, arguments, report).run()
    report.print_summary()
    return 1 if report.errors else 0


def _check(arguments: argparse.Namespace) -> None:
    size_px = arguments.detector_size_px
    if not _MIN_DETECTOR_PX <= size_px <= _MAX_DETECTOR_PX:
        limits = f"{_MIN_DETECTOR_PX} to {_MAX_DETECTOR_PX}"
        raise SettingsError(f"--detector-size-px {size_px}: must be {limits}")
    if not 0 < arguments.min_score < 1:
        raise SettingsError(f"--min-score {arguments.min_score}: must be between 0 and 1")
    if arguments.frame_interval_s is None:
        arguments.frame_interval_s = 1.0 if arguments.per_frame else _TRACKING_INTERVAL_S
    if not arguments.frame_interval_s >= 0:
        raise SettingsError(
            f"--frame-interval-s {arguments.frame_interval_s}: must be 0 (every frame) or more"
        )


def _choose_format(arguments: argparse.Namespace) -> _Format:
    from facestream.predict import formatters

    if arguments.json:
        return _Format("", formatters.json_lines, formatters.person_json_lines)
    if arguments.csv:
        header = formatters.csv_header()
        return _Format(header, formatters.csv_lines, formatters.person_csv_lines)
    header = formatters.table_header()
    return _Format(header, formatters.table_lines, formatters.person_table_lines)


class _Run:
    """One run of the command: print the results of all files and write annotated copies."""

    def __init__(
        self,
        files: Sequence[InputFile],
        predictor: Predictor,
        arguments: argparse.Namespace,
        report: InputReport,
    ) -> None:
        from facestream.predict.annotated_copies import common_parent

        self._files, self._predictor, self._report = files, predictor, report
        self._interval_s, self._output_dir = arguments.frame_interval_s, arguments.output_dir
        self._per_frame, self._format = arguments.per_frame, _choose_format(arguments)
        paths = [file.path for file in files]
        self._parent, self._originals = common_parent(paths), {path.resolve() for path in paths}
        self._images: list[InputImage] = []

    def run(self) -> None:
        """Print the faces of all images and the people of all videos."""
        from tqdm import tqdm

        from facestream.predict.input_files import read_all_images

        if self._format.header:
            print(self._format.header)
        # A terminal that shows the results needs no progress bar.
        is_hidden = not sys.stderr.isatty() or sys.stdout.isatty()
        has_several = len(self._files) > 1
        files = tqdm(self._files, unit=" files", disable=is_hidden or not has_several)
        on_video = None if self._per_frame else self._predict_video
        images = read_all_images(files, self._interval_s, self._report, on_video)
        hide_images = is_hidden or has_several or not self._per_frame
        for image in tqdm(images, unit=" images", disable=hide_images):
            self._images.append(image)
            if len(self._images) == _BATCH_IMAGES:
                self._predict_images()
        self._predict_images()

    def _predict_images(self) -> None:
        """Print the faces of the images read so far."""
        from facestream.predict.annotated_copies import copy_path, write_annotated

        images, self._images = self._images, []
        if not images:
            return
        faces_per_image = self._predictor.faces_in_batch([source.image for source in images])
        for source, faces in zip(images, faces_per_image, strict=True):
            for line in self._format.faces(source.name, faces):
                print(line)
            if self._output_dir is not None:
                target = copy_path(self._output_dir, self._parent, source)
                with self._writing(target):
                    write_annotated(target, source, faces)

    def _predict_video(self, file: InputFile, reader: VideoReader) -> None:
        """Print the people of a video; write its annotated copy."""
        from tqdm import tqdm

        from facestream.predict.annotated_copies import video_copy_path
        from facestream.predict.annotated_video import AnnotatedVideo
        from facestream.predict.person_tracker import PersonTracker

        self._predict_images()  # results are printed in the order of the files
        tracker = PersonTracker(self._interval_s)
        progress = tqdm(
            total=None if reader.duration_s is None else round(reader.duration_s, 1),
            unit=" s of video",
            desc=str(file.path)[-40:],
            leave=False,
            disable=not sys.stderr.isatty(),
        )
        with contextlib.ExitStack() as stack:
            stack.enter_context(progress)
            copy = None
            if self._output_dir is not None:
                target = video_copy_path(self._output_dir, self._parent, file.path)
                stack.enter_context(self._writing(target))
                copy = stack.enter_context(AnnotatedVideo(target))
            due_s = 0.0
            for frame in reader.frames(self._interval_s if copy is None else 0.0):
                time_s = float(frame.time_s)
                progress.update(max(0.0, time_s - progress.n))
                if time_s >= due_s - _TIME_TOLERANCE_S:
                    due_s = time_s + self._interval_s
                    tracker.update(self._predictor.observe([frame.image])[0], time_s)
                if copy is not None:
                    copy.write(frame.image, frame.time_s, tracker.labels(time_s))
        for line in self._format.people(str(file.path), tracker.people()):
            print(line)

    @contextlib.contextmanager
    def _writing(self, target: Path) -> Iterator[None]:
        """Check that a copy overwrites no original, and report what prevents writing it."""
        if target.resolve() in self._originals:
            raise SettingsError(
                f"--output-dir {self._output_dir}: {target} would overwrite an original; "
                "choose another folder"
            )
        try:
            yield
        except OSError as error:
            raise StartError(f"cannot write to {self._output_dir}: {error.strerror}") from None


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
