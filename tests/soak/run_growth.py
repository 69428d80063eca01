"""Run at half load for a long time and measure the growth of memory, threads and keys."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from facestream.common.broker.face_accounting import from_samples
from facestream.demo.clip_renderer import ensure_clip
from facestream.demo.demo_camera import cache_dir

from benchmarks.clip import numbered_clip
from benchmarks.fake_cameras import CameraBank
from tests.soak.environment import PARTS, Viewer
from tests.soak.probe import Probe, Sizes
from tests.soak.run_load import run_stack
from tests.soak.statistics import slope_per_hour

# Histories fill for ten minutes, pools and caches sooner; shorter runs use a share.
_WARM_UP_S, _WARM_UP_SHARE = 600.0, 0.4
_SAMPLE_INTERVAL_S = 5.0  # enough for a slope
# Bounds of the growth per hour; lower ones would be below the noise of a half-hour run.
MEMORY_MB_PER_HOUR = 12.0
COUNTS_PER_HOUR = 2.0  # threads, descriptors, keys

Figures = dict[str, Any]
Log = Callable[[str], None]


def run(seconds: float, cameras: int, say: Log) -> Figures:
    """Return a record: growth per hour of memory, threads, descriptors and keys."""
    with ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
        clip = folder / "clip.mp4"
        numbered_clip(ensure_clip(cache_dir(), lambda share: None), 720, 24.0, clip)
        bank = held.enter_context(CameraBank({f"camera{i}": clip for i in range(cameras)}))
        stack = held.enter_context(run_stack(bank, folder))
        probe = held.enter_context(Probe(stack, folder, bank.names))
        url = f"http://127.0.0.1:{stack.port}/cameras/camera0/stream.mjpg"
        held.enter_context(Viewer(url))
        pids, began_s = stack.parts(), time.monotonic()
        while (left_s := began_s + seconds - time.monotonic()) > 0:
            say(f"{left_s:.0f} s to go; {probe.accounting.as_metrics()}")
            try:
                time.sleep(min(60.0, left_s))
            except KeyboardInterrupt:  # ended early: the record says for how long it ran
                break
        warm_s = min(_WARM_UP_S, _WARM_UP_SHARE * (time.monotonic() - began_s))
        sizes = [s for s in probe.observations.sizes if s.at_s - began_s > warm_s]
        ledger = from_samples(stack.samples())
        return {
            "seconds": round(time.monotonic() - began_s),
            "cameras": cameras,
            "restarts": sum(stack.parts().get(part) != pid for part, pid in pids.items()),
            "warm_up_s": round(warm_s),
            "growth_per_hour": growth(downsample(sizes, _SAMPLE_INTERVAL_S)),
            "bounds_per_hour": {"memory_mb": MEMORY_MB_PER_HOUR, "others": COUNTS_PER_HOUR},
            "level": {
                "rss_mb": sizes[-1].rss_mb,
                "threads": sizes[-1].threads,
                "descriptors": sizes[-1].descriptors,
                "keys": sizes[-1].keys,
                "broker_mb": sizes[-1].broker_mb,
            },
            "rss_mb_each_minute": {
                part: [s.rss_mb.get(part) for s in downsample(probe.observations.sizes, 60.0)]
                for part in PARTS
            },
            "ledger": ledger.as_metrics(),
            "unexplained": ledger.unaccounted,
            "looks_with_unexplained": len(probe.observations.unexplained),
        }


def downsample(sizes: Sequence[Sizes], each_s: float) -> list[Sizes]:
    """Return at most one sample per `each_s` seconds."""
    selected: list[Sizes] = []
    for size in sizes:
        if not selected or size.at_s - selected[-1].at_s >= each_s:
            selected.append(size)
    return selected


def growth(sizes: Sequence[Sizes]) -> Figures:
    """Return the growth per hour, by kind and process."""

    def of(kind: str) -> dict[str, float]:
        return {
            part: round(
                slope_per_hour(
                    [s.at_s for s in sizes if part in getattr(s, kind)],
                    [getattr(s, kind)[part] for s in sizes if part in getattr(s, kind)],
                ),
                2,
            )
            for part in PARTS
        }

    known = [s for s in sizes if s.keys is not None]
    at_s = [s.at_s for s in known]
    return {
        "rss_mb": of("rss_mb"),
        "threads": of("threads"),
        "descriptors": of("descriptors"),
        "keys": round(slope_per_hour(at_s, [float(s.keys or 0) for s in known]), 2),
        "broker_mb": round(slope_per_hour(at_s, [s.broker_mb or 0.0 for s in known]), 2),
    }
