"""One benchmark run: rounds of this pipeline and of what it is held against, in turn.

Figures are CPU time of whole process trees, so that another program on the machine disturbs them
little. Each round measures everything once, so that a change of the machine's speed meets all
alike; what is compared between runs are the ratios within a round. A window is as long as the clip,
so that each sees all of it.
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
from benchmarks.comparisons import Peer, decoding_ms, network_ms, plain_way
from benchmarks.fake_cameras import CameraBank
from benchmarks.ramp import Stage, by_service_ms, by_step_ms, frames, per_frame_ms, share_received
from benchmarks.report import FEWEST_SEARCHES
from benchmarks.stack_under_test import SERVICES, Reading, Rig
from benchmarks.viewers import Listener, Lookout, Viewer
from tests.fixtures.stack import free_port

HEIGHT_PX = 720
_LATE_S = 0.05  # p95 lateness up to which a number of streams counts as carried
_MIN_RATE = 0.98  # of the frames that were sent
_WARM_UP_S = 2.0
_APPEARING = tuple(f"appearing{i}" for i in range(4))

Say = Callable[[str], None]
Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Extent:
    """How long and how often is measured.

    clip_s: of the clip, at most; extra_viewers: how many more look on, to tell what each costs;
    found_s: how long faces appear; heights_px: other sizes of the clip, measured once; network:
    whether the network alone is measured, on each runtime.
    """

    rounds: int
    count_after_s: float
    clip_s: float
    extra_viewers: int
    found_s: float
    stream_counts: tuple[int, ...]
    streams_window_s: float
    heights_px: tuple[int, ...]
    peer_pictures: int
    network: bool


QUICK = Extent(3, 1.2, 3.6, 0, 6.0, (12,), 3.6, (), 2, False)
FULL = Extent(3, 3.0, 18.0, 4, 42.0, (4, 8, 12, 16, 20, 24), 18.0, (360, 1080), 6, True)


def measure(
    extent: Extent, clip: Path | None, model: Path | None, peer: Path | None, say: Say
) -> Figures:
    """All figures of one run; each leaf is a list, of rounds or of a single value.

    Args:
        clip: what the cameras play; the demo camera's by default.
        model: for the plain way, a SavedModel's folder.
        peer: Python of an environment with the peer; None leaves it out.
    """
    model = newest_version(model or MODELS_DIR / "age_gender")
    source = clip or ensure_clip(cache_dir(), lambda share: None)
    with tempfile.TemporaryDirectory(prefix="facestream-bench-") as name:
        folder = Path(name)
        clips = {"clip": folder / "clip.mp4", "empty": folder / "empty.mp4"}
        window_s = numbered_clip(source, HEIGHT_PX, extent.clip_s, clips["clip"]) / FPS
        say(f"clip: {source.name}, {window_s:.1f} s, {HEIGHT_PX}p at {FPS}/s")
        empty_clip(clips["empty"])
        appearing = folder / "appearing.mp4"
        appearing_clip(appearing)
        for height in extent.heights_px:
            clips[f"clip{height}"] = folder / f"clip{height}.mp4"
            numbered_clip(source, height, extent.clip_s, clips[f"clip{height}"])
        rival = peer and Peer(peer, clips["clip"], extent.peer_pictures, folder / "pictures")
        plan = _Plan(extent, window_s, clips, model, rival or None)
        figures = _one_stack(plan, appearing, folder, say)
        streams = _streams(clips["clip"], folder, extent, say)
        if extent.network:
            say("the network alone")
            network = {name: [cost] for name, cost in network_ms(model).items()}
            figures["network_ms_per_face"] = network
    return figures | {"streams": streams, "clip": source.name}


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a run measures, with what."""

    extent: Extent
    window_s: float
    clips: dict[str, Path]
    model: Path
    peer: Peer | None


def _one_stack(plan: _Plan, appearing: Path, folder: Path, say: Say) -> Figures:
    extent = plan.extent
    with ExitStack() as stack:
        bank = stack.enter_context(CameraBank(plan.clips | dict.fromkeys(_APPEARING, appearing)))
        rig = stack.enter_context(Rig({"clip": bank.url("clip")}, folder, free_port()))
        stage = Stage(rig, bank, extent.count_after_s)
        listener = stack.enter_context(Listener(rig.broker_url, ["clip"]))
        stage.show("clip")
        time.sleep(_WARM_UP_S)
        rounds, ages_s = [], []
        for number in range(1, extent.rounds + 1):
            say(f"round {number} of {extent.rounds}")
            figures, seen_s = _round(stage, plan)
            rounds.append(figures)
            ages_s += seen_s
        memory = rig.memory_mb()
        sizes = {str(px): _size(stage, plan, px) for px in extent.heights_px}
        say("faces that appear")
        stage.show(*_APPEARING)
        with Lookout(
            rig.broker_url, list(_APPEARING), lambda name: bank.age_s(name, APPEARS_AT)
        ) as lookout:
            time.sleep(extent.found_s)
        once: Figures = {
            "latency_ms": {
                **_percentiles("picture", ages_s),
                **_percentiles("result", listener.first_result_s),
                **_percentiles("found", lookout.found_s),
            },
            "rss_mb": {service: [memory[service]] for service in SERVICES if service in memory},
            "start_s": [rig.start_s],
            "sizes": sizes,
        }
    return _gather(rounds) | once


def _round(stage: Stage, plan: _Plan) -> tuple[Figures, list[float]]:
    bank, url = stage.bank, f"{stage.rig.url}/cameras/clip/stream.mjpg"
    stage.show("clip")
    unwatched = stage.window(plan.window_s)
    viewer_ms = None
    with Viewer(url, lambda number: bank.age_s("clip", number)) as viewer:
        time.sleep(plan.extent.count_after_s)
        watched = stage.window(plan.window_s)
        if viewers := plan.extent.extra_viewers:
            with ExitStack() as more:
                for _ in range(viewers):
                    more.enter_context(Viewer(url, None))
                time.sleep(plan.extent.count_after_s)
                crowded = by_service_ms(stage.window(plan.window_s))
            viewer_ms = (crowded["annotator"] - by_service_ms(watched)["annotator"]) / viewers
    stage.show("empty")
    empty = stage.window(plan.window_s)
    stage.show()
    floor, empty_floor = decoding_ms(plan.clips["clip"]), decoding_ms(plan.clips["empty"])
    plain = plain_way(bank, "clip", plan.model, plan.window_s)
    plain_ms = _each_ms(plain)
    faces = unwatched.metrics.get("facestream_worker_faces_processed_total", 0.0)
    answering_s = unwatched.cpu_s["worker"] + unwatched.cpu_s["model-server"]
    cpu: Figures = {
        "unwatched": per_frame_ms(unwatched),
        "watched": per_frame_ms(watched),
        "plain": plain_ms,
        "plain_unwatched": plain_ms - 1000 * plain["encoding_s"] / plain["frames"],
        "per_extra_viewer": viewer_ms,
        "floor": floor,
        "empty": per_frame_ms(empty),
        "empty_capture": by_service_ms(empty)["capture"],
        "empty_floor": empty_floor,
        "unwatched_by_service": by_service_ms(unwatched),
        "watched_by_service": by_service_ms(watched),
        "steps": by_step_ms(watched),
    }
    ratios = {
        "unwatched_to_floor": cpu["unwatched"] / floor,
        "watched_to_floor": cpu["watched"] / floor,
        "empty_to_floor": cpu["empty"] / empty_floor,
        "empty_capture_to_floor": cpu["empty_capture"] / empty_floor,
        "unwatched_to_plain": cpu["unwatched"] / cpu["plain_unwatched"],
        "watched_to_plain": cpu["watched"] / plain_ms,
    }
    if plan.peer is not None:
        answer = plan.peer.measure()
        cpu["peer"] = _each_ms(answer)
        ratios["unwatched_to_peer"] = cpu["unwatched"] / cpu["peer"]
        cpu["peer_faces"] = answer["faces"] / answer["frames"]
    figures = {
        "cpu_ms_per_frame": cpu,
        "ratios": ratios,
        "cpu_ms_per_face": 1000 * answering_s / faces if faces else None,
        "faces_per_frame": faces / frames(unwatched),
        # Below 1 the machine did not keep up, and frames that were skipped cost nothing.
        "frames_received": share_received(watched, 1),
        "searches_a_second": _searches(watched) / watched.at_s,
        "searches_taken": _searches_taken(watched),
        "plain_faces_per_frame": plain["faces"] / max(1, plain["frames"]),
    }
    return figures, viewer.ages_s


def _size(stage: Stage, plan: _Plan, height_px: int) -> Figures:
    """Cost of the same clip at another size."""
    name = f"clip{height_px}"
    stage.show(name)
    unwatched = stage.window(plan.window_s)
    with Viewer(f"{stage.rig.url}/cameras/{name}/stream.mjpg", None):
        time.sleep(plan.extent.count_after_s)
        watched = stage.window(plan.window_s)
    return {
        "unwatched": [per_frame_ms(unwatched)],
        "watched": [per_frame_ms(watched)],
        "floor": [decoding_ms(plan.clips[name])],
    }


def _streams(clip: Path, folder: Path, extent: Extent, say: Say) -> Figures:
    """The trials of so many unwatched cameras, and the largest number that this machine carries.

    `read`: every frame, on time; `carried`: faces are searched for in them as often as in few, too.
    """
    carried, read, trials = 0, 0, []
    for count in extent.stream_counts:
        say(f"{count} cameras")
        with ExitStack() as stack:
            bank = stack.enter_context(CameraBank({f"camera{i}": clip for i in range(count)}))
            cameras = {name: bank.url(name) for name in bank.names}
            rig = stack.enter_context(Rig(cameras, folder, free_port()))
            stage = Stage(rig, bank, extent.count_after_s)
            stage.show(*bank.names)
            time.sleep(_WARM_UP_S)
            with Listener(rig.broker_url, bank.names) as listener:
                window = stage.window(extent.streams_window_s)
            memory = rig.memory_mb()
        rate = share_received(window, count)
        late_s = float(np.percentile(listener.lateness_s or [float("inf")], 95))
        trials.append(
            {
                "cameras": count,
                "frames_received": rate,
                "late_p95_ms": 1000 * late_s,
                "searches_taken": _searches_taken(window),
                "cpu_ms_per_frame": per_frame_ms(window),
                "to_floor": per_frame_ms(window) / decoding_ms(clip),
                "capture_mb": memory["capture"],
                "broker_mb": memory["broker"],
            }
        )
        if rate < _MIN_RATE or late_s > _LATE_S:
            break
        read = count
        if _searches_taken(window) >= FEWEST_SEARCHES:
            carried = count
    return {"carried": carried, "read": read, "trials": trials}


def _searches(window: Reading) -> float:
    kinds = ("detections", "detections_skipped")
    return sum(window.metrics.get(f"facestream_capture_{kind}_total", 0.0) for kind in kinds)


def _searches_taken(window: Reading) -> float:
    """Of the searches that were due; the others came while the last one was still to be made."""
    skipped = window.metrics.get("facestream_capture_frames_dropped_total:detector_busy", 0.0)
    taken = _searches(window)
    return taken / max(1.0, taken + skipped)


def _each_ms(answer: dict[str, float]) -> float:
    if not answer["frames"]:
        raise StartError("what this pipeline is held against got no picture")
    return 1000 * answer["cpu_s"] / answer["frames"]


def _percentiles(name: str, seconds: list[float]) -> dict[str, list[float | None]]:
    return {
        f"{name}_p{p}": [1000 * float(np.percentile(seconds, p)) if seconds else None]
        for p in (50, 95, 99)
    }


def _gather(rounds: list[Figures]) -> Figures:
    """The rounds' figures side by side: each leaf becomes a list."""
    first = rounds[0]
    return {
        key: _gather([r[key] for r in rounds])
        if isinstance(value, dict)
        else [r[key] for r in rounds]
        for key, value in first.items()
    }
