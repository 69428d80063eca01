"""Run the benchmark: rounds of the pipeline and of its references, in turn.

Costs are CPU time of whole process trees, which other programs on the machine disturb little. Each
round measures everything once, so that a change of the machine's speed affects all alike; runs are
compared by the ratios within a round. A window is as long as the clip and covers all of it.

Longer than 300 lines: the rounds share one open stack, one set of cameras and one result.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from facestream.common.core.errors import StartError
from facestream.common.core.paths import MODELS_DIR
from facestream.common.vision.model_store import newest_version
from facestream.demo.clip_renderer import ensure_clip
from facestream.demo.demo_camera import cache_dir

from benchmarks.clip import APPEARS_AT, FPS, appearing_clip, empty_clip, numbered_clip
from benchmarks.comparisons import ThirdParty, decoding_ms, network_ms, run_baseline
from benchmarks.fake_cameras import CameraBank
from benchmarks.ramp import (
    CameraRamp,
    by_service_ms,
    by_stage_ms,
    frames,
    per_frame_ms,
    share_received,
)
from benchmarks.report import MIN_DETECTION_SHARE
from benchmarks.stack_under_test import SERVICES, CounterSnapshot, StackUnderTest
from benchmarks.viewers import DetectionListener, ResultListener, Viewer
from tests.fixtures.stack import free_port

HEIGHT_PX = 720
_LATE_S = 0.05  # p95 lateness up to which a number of cameras counts as sustained
_MIN_RATE = 0.98  # of the frames that were sent
_WARM_UP_S = 2.0
_APPEARING = tuple(f"appearing{i}" for i in range(4))

Log = Callable[[str], None]
Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RunConfig:
    """Durations and repetitions of a run.

    clip_s: maximum length of the clip; extra_viewers: further viewers, to measure their cost;
    appearing_s: how long faces appear; heights_px: other heights of the clip, measured once;
    network: whether to measure the network alone, on each runtime.
    """

    rounds: int
    settle_s: float
    clip_s: float
    extra_viewers: int
    appearing_s: float
    stream_counts: tuple[int, ...]
    streams_window_s: float
    heights_px: tuple[int, ...]
    third_party_frames: int
    network: bool


QUICK = RunConfig(3, 1.2, 3.6, 0, 6.0, (12,), 3.6, (), 2, False)
FULL = RunConfig(3, 3.0, 18.0, 4, 42.0, (4, 8, 12, 16, 20, 24), 18.0, (360, 1080), 6, True)


def measure(
    config: RunConfig,
    clip: Path | None,
    model: Path | None,
    third_party_python: Path | None,
    log: Log,
) -> Figures:
    """Measure all figures of one run; each leaf is a list with one value per round, or one value.

    Args:
        clip: what the cameras play; the demo camera's clip by default.
        model: folder of the SavedModel for the baseline.
        third_party_python: Python of an environment with the third-party package; None skips it.
        log: called with each line of progress.
    """
    model = newest_version(model or MODELS_DIR / "age_gender")
    source = clip or ensure_clip(cache_dir(), lambda share: None)
    with tempfile.TemporaryDirectory(prefix="facestream-bench-") as name:
        folder = Path(name)
        clips = {"clip": folder / "clip.mp4", "empty": folder / "empty.mp4"}
        window_s = numbered_clip(source, HEIGHT_PX, config.clip_s, clips["clip"]) / FPS
        log(f"clip: {source.name}, {window_s:.1f} s, {HEIGHT_PX}p at {FPS}/s")
        empty_clip(clips["empty"])
        appearing = folder / "appearing.mp4"
        appearing_clip(appearing)
        for height in config.heights_px:
            clips[f"clip{height}"] = folder / f"clip{height}.mp4"
            numbered_clip(source, height, config.clip_s, clips[f"clip{height}"])
        third_party = third_party_python and ThirdParty(
            third_party_python, clips["clip"], config.third_party_frames, folder / "frames"
        )
        plan = _Plan(config, window_s, clips, model, third_party or None)
        figures = _one_stack(plan, appearing, folder, log)
        streams = _streams(clips["clip"], folder, config, log)
        if config.network:
            log("the network alone")
            network = {name: [cost] for name, cost in network_ms(model).items()}
            figures["network_ms_per_face"] = network
    return figures | {"streams": streams, "clip": source.name}


@dataclass(frozen=True, slots=True)
class _Plan:
    """Inputs of the measurements of one run."""

    config: RunConfig
    window_s: float
    clips: dict[str, Path]
    model: Path
    third_party: ThirdParty | None


def _one_stack(plan: _Plan, appearing: Path, folder: Path, log: Log) -> Figures:
    config = plan.config
    with ExitStack() as stack:
        bank = stack.enter_context(CameraBank(plan.clips | dict.fromkeys(_APPEARING, appearing)))
        sut = stack.enter_context(StackUnderTest({"clip": bank.url("clip")}, folder, free_port()))
        ramp = CameraRamp(sut, bank, config.settle_s)
        listener = stack.enter_context(ResultListener(sut.broker_url, ["clip"]))
        ramp.activate("clip")
        time.sleep(_WARM_UP_S)
        rounds, ages_s = [], []
        for number in range(1, config.rounds + 1):
            log(f"round {number} of {config.rounds}")
            figures, seen_s = _round(ramp, plan)
            rounds.append(figures)
            ages_s += seen_s
        memory = sut.memory_mb()
        sizes = {str(px): _size(ramp, plan, px) for px in config.heights_px}
        log("faces that appear")
        ramp.activate(*_APPEARING)
        with DetectionListener(
            sut.broker_url, list(_APPEARING), lambda name: bank.age_s(name, APPEARS_AT)
        ) as detections:
            time.sleep(config.appearing_s)
        once: Figures = {
            "latency_ms": {
                **_percentiles("frame", ages_s),
                **_percentiles("result", listener.first_result_s),
                **_percentiles("detection", detections.latencies_s),
            },
            "rss_mb": {service: [memory[service]] for service in SERVICES if service in memory},
            "start_s": [sut.start_s],
            "sizes": sizes,
        }
    return _gather(rounds) | once


def _round(ramp: CameraRamp, plan: _Plan) -> tuple[Figures, list[float]]:
    bank, url = ramp.bank, f"{ramp.sut.url}/cameras/clip/stream.mjpg"
    ramp.activate("clip")
    unwatched = ramp.measure(plan.window_s)
    viewer_ms = None
    with Viewer(url, lambda number: bank.age_s("clip", number)) as viewer:
        time.sleep(plan.config.settle_s)
        watched = ramp.measure(plan.window_s)
        if viewers := plan.config.extra_viewers:
            with ExitStack() as more:
                for _ in range(viewers):
                    more.enter_context(Viewer(url, None))
                time.sleep(plan.config.settle_s)
                crowded = by_service_ms(ramp.measure(plan.window_s))
            viewer_ms = (crowded["annotator"] - by_service_ms(watched)["annotator"]) / viewers
    ramp.activate("empty")
    empty = ramp.measure(plan.window_s)
    ramp.activate()
    lower_bound, empty_lower_bound = (
        decoding_ms(plan.clips["clip"]),
        decoding_ms(plan.clips["empty"]),
    )
    baseline = run_baseline(bank, "clip", plan.model, plan.window_s)
    baseline_ms = _cost_per_frame_ms(baseline)
    faces = unwatched.metrics.get("facestream_worker_faces_processed_total", 0.0)
    inference_s = unwatched.cpu_s["worker"] + unwatched.cpu_s["model-server"]
    cpu: Figures = {
        "unwatched": per_frame_ms(unwatched),
        "watched": per_frame_ms(watched),
        "baseline": baseline_ms,
        "baseline_unwatched": baseline_ms - 1000 * baseline["encoding_s"] / baseline["frames"],
        "per_extra_viewer": viewer_ms,
        "lower_bound": lower_bound,
        "empty": per_frame_ms(empty),
        "empty_capture": by_service_ms(empty)["capture"],
        "empty_lower_bound": empty_lower_bound,
        "unwatched_by_service": by_service_ms(unwatched),
        "watched_by_service": by_service_ms(watched),
        "stages": by_stage_ms(watched),
    }
    ratios = {
        "unwatched_to_lower_bound": cpu["unwatched"] / lower_bound,
        "watched_to_lower_bound": cpu["watched"] / lower_bound,
        "empty_to_lower_bound": cpu["empty"] / empty_lower_bound,
        "empty_capture_to_lower_bound": cpu["empty_capture"] / empty_lower_bound,
        "unwatched_to_baseline": cpu["unwatched"] / cpu["baseline_unwatched"],
        "watched_to_baseline": cpu["watched"] / baseline_ms,
    }
    if plan.third_party is not None:
        cost = plan.third_party.measure()
        cpu["third_party"] = _cost_per_frame_ms(cost)
        ratios["unwatched_to_third_party"] = cpu["unwatched"] / cpu["third_party"]
        cpu["third_party_faces"] = cost["faces"] / cost["frames"]
    figures = {
        "cpu_ms_per_frame": cpu,
        "ratios": ratios,
        "cpu_ms_per_face": 1000 * inference_s / faces if faces else None,
        "faces_per_frame": faces / frames(unwatched),
        # Below 1 the machine was too slow: skipped frames cost nothing.
        "frames_received": share_received(watched, 1),
        "detections_per_second": _detections_due(watched) / watched.time_s,
        "detection_share": _detection_share(watched),
        "baseline_faces_per_frame": baseline["faces"] / max(1, baseline["frames"]),
    }
    return figures, viewer.ages_s


def _size(ramp: CameraRamp, plan: _Plan, height_px: int) -> Figures:
    """Measure the same clip at another height."""
    name = f"clip{height_px}"
    ramp.activate(name)
    unwatched = ramp.measure(plan.window_s)
    with Viewer(f"{ramp.sut.url}/cameras/{name}/stream.mjpg", None):
        time.sleep(plan.config.settle_s)
        watched = ramp.measure(plan.window_s)
    return {
        "unwatched": [per_frame_ms(unwatched)],
        "watched": [per_frame_ms(watched)],
        "lower_bound": [decoding_ms(plan.clips[name])],
    }


def _streams(clip: Path, folder: Path, config: RunConfig, log: Log) -> Figures:
    """Measure rising numbers of unwatched cameras until the machine cannot keep up.

    `read`: largest number whose frames are all decoded on time. `carried`: largest number for which
    the detector also runs as often as for a few cameras.
    """
    carried, read, trials = 0, 0, []
    for count in config.stream_counts:
        log(f"{count} cameras")
        with ExitStack() as stack:
            bank = stack.enter_context(CameraBank({f"camera{i}": clip for i in range(count)}))
            cameras = {name: bank.url(name) for name in bank.names}
            sut = stack.enter_context(StackUnderTest(cameras, folder, free_port()))
            ramp = CameraRamp(sut, bank, config.settle_s)
            ramp.activate(*bank.names)
            time.sleep(_WARM_UP_S)
            with ResultListener(sut.broker_url, bank.names) as listener:
                window = ramp.measure(config.streams_window_s)
            memory = sut.memory_mb()
        rate = share_received(window, count)
        late_s = float(np.percentile(listener.lateness_s or [float("inf")], 95))
        trials.append(
            {
                "cameras": count,
                "frames_received": rate,
                "late_p95_ms": 1000 * late_s,
                "detection_share": _detection_share(window),
                "cpu_ms_per_frame": per_frame_ms(window),
                "to_lower_bound": per_frame_ms(window) / decoding_ms(clip),
                "capture_mb": memory["capture"],
                "broker_mb": memory["broker"],
            }
        )
        if rate < _MIN_RATE or late_s > _LATE_S:
            break
        read = count
        if _detection_share(window) >= MIN_DETECTION_SHARE:
            carried = count
    return {"carried": carried, "read": read, "trials": trials}


def _detections_due(window: CounterSnapshot) -> float:
    kinds = ("detections", "detections_skipped")
    return sum(window.metrics.get(f"facestream_capture_{kind}_total", 0.0) for kind in kinds)


def _detection_share(window: CounterSnapshot) -> float:
    """Return the share of due detections that ran; the others found the detector busy."""
    skipped = window.metrics.get("facestream_capture_frames_dropped_total:detector_busy", 0.0)
    taken = _detections_due(window)
    return taken / max(1.0, taken + skipped)


def _cost_per_frame_ms(cost: dict[str, float]) -> float:
    if not cost["frames"]:
        raise StartError("the reference received no frames")
    return 1000 * cost["cpu_s"] / cost["frames"]


def _percentiles(name: str, seconds: list[float]) -> dict[str, list[float | None]]:
    return {
        f"{name}_p{p}": [1000 * float(np.percentile(seconds, p)) if seconds else None]
        for p in (50, 95, 99)
    }


def _gather(rounds: list[Figures]) -> Figures:
    """Merge the figures of all rounds: each leaf becomes a list."""
    first = rounds[0]
    return {
        key: _gather([r[key] for r in rounds])
        if isinstance(value, dict)
        else [r[key] for r in rounds]
        for key, value in first.items()
    }
