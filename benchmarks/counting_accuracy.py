"""Measure the accuracy of people counting on synthetic clips with known visits.

    python -m benchmarks.counting_accuracy

Each clip follows a random script: people (photographs of `samples/`) walk in from either side,
stay, are at times hidden for a short time, pass in front of each other, and leave. The clip goes
through the real decoder, detector, tracker, network and counting at five detections per second as
in the pipeline, but without the services and as fast as possible. No setting of the counting was
chosen with these seeds.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import av
import numpy as np
import simplejpeg
from facestream.annotator.counting.visit import CountEvent
from facestream.annotator.counting.visit_tracker import VisitPolicy, VisitTracker
from facestream.annotator.people import demographics
from facestream.annotator.people.camera_people import CameraPeople
from facestream.annotator.settings import AnnotatorSettings
from facestream.capture.faces.detector_input import choose_input_size
from facestream.capture.faces.face_pipeline import DetectionResult, FacePipeline
from facestream.capture.publishing.stream_entries import frame_message
from facestream.capture.settings import CaptureSettings
from facestream.capture.sources.camera_reader import CapturedFrame
from facestream.common.broker.messages import Result, pack_distribution
from facestream.common.cameras.regions import Line
from facestream.common.core.paths import MODELS_DIR, SAMPLES_DIR
from facestream.common.vision.displayed_estimate import DisplayThresholds
from facestream.common.vision.exported_model import ExportedModel
from facestream.common.vision.face_detector import FaceDetector
from facestream.common.vision.model_store import newest_version
from facestream.demo.clip_renderer import Appearance, render

from benchmarks.report import machine

CLIP_S = 60.0
FPS = 5  # the detection rate of the pipeline
SEEDS = tuple(range(21, 41))
MIDDLE = Line(name="middle", points=((0.5, 1.0), (0.5, 0.0)))
RECORD = Path(__file__).parent / "records" / "counting.json"
_GENDERS = {"astronaut": "female", "grace_hopper": "female", "biden": "male", "obama": "male"}
_MAX_PRESENT = 3
_RESULT_DELAY_S = 0.15  # from a face to its result
_SLACK_S = 2.0  # a counted visit matches a true visit that began at most this much earlier


@dataclass(frozen=True, slots=True)
class Score:
    """Result of one clip: true visits, counted visits, and true visits that were counted.

    enter, leave: crossings of the middle line, counted and true.
    """

    seed: int
    came: int
    counted: int
    found: int
    short_losses: int
    gender_right: int
    gender_wrong: int
    gender_unknown: int
    enter: tuple[int, int]
    leave: tuple[int, int]


def choreography(seed: int) -> list[Appearance]:
    """Return random visits within `CLIP_S`; each photograph is in view at most once at a time."""
    rng = random.Random(seed)
    script: list[Appearance] = []
    at_s = 1.0
    free_at = dict.fromkeys(_GENDERS, 0.0)
    while True:
        at_s += rng.choice((0.4, 1.0, 2.0, 4.0))
        stay_s = rng.choice((3.6, 5.0, 8.0, 14.0)) * rng.uniform(0.9, 1.1)
        if at_s + stay_s > CLIP_S - 8:
            return script
        present = [visit for visit in script if visit.leave_s > at_s]
        free = [name for name in sorted(_GENDERS) if free_at[name] <= at_s]
        if len(present) >= _MAX_PRESENT or not free:
            continue
        absences: tuple[tuple[float, float], ...] = ()
        if stay_s > 7 and rng.random() < 0.5:
            begin = at_s + rng.uniform(2.5, stay_s - 5.5)
            absences = ((begin, begin + rng.choice((0.6, 1.5, 3.0))),)
        name = rng.choice(free)
        free_at[name] = at_s + stay_s + 10.0
        script.append(
            Appearance(
                name,
                at_s,
                at_s + stay_s,
                x=rng.uniform(0.15, 0.85),
                height=rng.uniform(0.45, 0.85),
                from_left=rng.random() < 0.5,
                absences=absences,
            )
        )


def count(clip: Path, policy: VisitPolicy) -> list[CountEvent]:
    """Return everything that the pipeline counts in a clip, by the clip's own time."""
    settings = CaptureSettings()
    detectors: dict[tuple[int, int], FaceDetector] = {}

    def detector(width: int, height: int) -> FaceDetector:
        size = choose_input_size(
            width, height, settings.detector_long_side_px, settings.detector_short_side_px
        )
        if size not in detectors:
            detectors[size] = FaceDetector(*size, min_score=settings.min_detection_score)
        return detectors[size]

    finder = FacePipeline(settings, 0, detector)
    model = ExportedModel(newest_version(MODELS_DIR / "age_gender"))
    people = CameraPeople(_display_thresholds(), AnnotatorSettings().track_retention_s)
    counted: list[CountEvent] = []
    visits = VisitTracker(policy, counted.append)
    waiting: list[tuple[float, Result]] = []
    now_s = 0.0
    for seq, (now_s, video) in enumerate(_frames(clip)):
        while waiting and waiting[0][0] <= now_s:
            people.add_result(waiting.pop(0)[1], now_s)
        captured = CapturedFrame(video, 1, seq, round(now_s * 1e6), now_s)
        found = finder.process(video, captured.captured_us, now_s)
        waiting += [(now_s + _RESULT_DELAY_S, result) for result in _predict(found, model)]
        frame = frame_message("clip", captured, (found.width, found.height), found.faces)
        people.on_frame(frame, now_s)
        people.evict_stale(now_s)
        visits.on_frame(frame, lambda t: people.estimate(1, t), [], [MIDDLE], now_s, now_s)
    visits.finalize_all()
    return counted


def score(seed: int, script: Sequence[Appearance], counted: Sequence[CountEvent]) -> Score:
    """Compare the counts with the truth."""
    visits = [entry for entry in counted if entry.kind == "visit"]
    matched: list[tuple[Appearance, CountEvent]] = []
    left = list(visits)
    for real in script:
        fits = [v for v in left if -0.2 <= v.timestamp - real.enter_s <= _SLACK_S]
        # Of two visits at the same time, prefer the one with the right gender.
        fits.sort(key=lambda v: (_is_wrong(real, v), v.timestamp))
        if fits:
            left.remove(fits[0])
            matched.append((real, fits[0]))
    genders = Counter(
        "unknown"
        if demographics.gender_label(v.estimate) == demographics.UNKNOWN
        else "wrong"
        if _is_wrong(real, v)
        else "right"
        for real, v in matched
    )
    crossed = Counter(entry.kind for entry in counted)
    from_left = sum(real.from_left for real in script)
    return Score(
        seed,
        came=len(script),
        counted=len(visits),
        found=len(matched),
        short_losses=sum(bool(real.absences) for real in script),
        gender_right=genders["right"],
        gender_wrong=genders["wrong"],
        gender_unknown=genders["unknown"],
        enter=(crossed["enter"], from_left),
        leave=(crossed["leave"], len(script) - from_left),
    )


def _is_wrong(real: Appearance, counted: CountEvent) -> bool:
    return demographics.gender_label(counted.estimate) not in (
        demographics.UNKNOWN,
        _GENDERS[real.sample],
    )


def _frames(clip: Path) -> Iterator[tuple[float, av.VideoFrame]]:
    with av.open(str(clip)) as container:
        for i, frame in enumerate(container.decode(video=0)):
            yield i / FPS, frame


def _predict(found: DetectionResult, model: ExportedModel) -> Iterator[Result]:
    if not found.crops:
        return
    crops = np.stack([simplejpeg.decode_jpeg(crop.jpeg, "RGB") for crop in found.crops])
    predictions = model.predict(crops)
    for i, crop in enumerate(found.crops):
        yield Result(
            camera="clip",
            session=1,
            track=crop.track,
            captured_us=crop.captured_us,
            quality=crop.quality,
            age=float(predictions["age"][i]),
            age_std=float(predictions["age_std"][i]) if "age_std" in predictions else 5.0,
            female=float(predictions["gender"][i]),
            age_distribution=pack_distribution(predictions["age_distribution"][i]),
            model="age_gender",
        )


def _display_thresholds() -> DisplayThresholds:
    settings = AnnotatorSettings()
    return DisplayThresholds(
        settings.display_min_evidence,
        settings.display_max_age_interval_years,
        settings.display_min_gender_probability,
    )


def _visit_policy() -> VisitPolicy:
    settings = AnnotatorSettings()
    return VisitPolicy(settings.min_visit_s, settings.max_visit_gap_s, settings.count_after_s)


def main() -> None:
    """Measure, print a line per clip, and write the record."""
    parser = argparse.ArgumentParser(description="Measure the accuracy of people counting.")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--json", type=Path, default=RECORD)
    arguments = parser.parse_args()
    scores = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in arguments.seeds:
            script, clip = choreography(seed), Path(folder) / f"{seed}.mp4"
            render(clip, lambda share: None, SAMPLES_DIR, script, CLIP_S, FPS)
            scores.append(score(seed, script, count(clip, _visit_policy())))
            print(scores[-1], flush=True)
    record = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "clip_s": CLIP_S,
        "rule": asdict(_visit_policy()),
        "came": sum(s.came for s in scores),
        "counted": sum(s.counted for s in scores),
        "found": sum(s.found for s in scores),
        "short_losses": sum(s.short_losses for s in scores),
        "gender_right": sum(s.gender_right for s in scores),
        "gender_wrong": sum(s.gender_wrong for s in scores),
        "gender_unknown": sum(s.gender_unknown for s in scores),
        "crossings_counted": sum(s.enter[0] + s.leave[0] for s in scores),
        "crossings_true": sum(s.enter[1] + s.leave[1] for s in scores),
        "clips": [asdict(s) for s in scores],
    }
    arguments.json.write_text(json.dumps(record, indent=1) + "\n")
    print(f"written to {arguments.json}")


if __name__ == "__main__":
    main()
