"""A long run at half load: does anything grow?"""

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
from tests.soak.probe import Sizes, Watch
from tests.soak.run_load import stack_of
from tests.soak.statistics import slope_per_hour

# The page's charts fill for ten minutes, and pools and caches before; of a shorter run, less.
_WARM_UP_S, _WARM_UP_SHARE = 600.0, 0.4
_EACH_S = 5.0  # a sample so often is enough for a slope
# What an hour may add: less would be the noise of half an hour.
MEMORY_MB_PER_HOUR = 12.0
COUNTS_PER_HOUR = 2.0  # threads, descriptors, keys

Figures = dict[str, Any]
Say = Callable[[str], None]


def run(seconds: float, cameras: int, say: Say) -> Figures:
    """A record: growth an hour of each part's memory, threads and descriptors, and of the keys."""
    with ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
        clip = folder / "clip.mp4"
        numbered_clip(ensure_clip(cache_dir(), lambda share: None), 720, 24.0, clip)
        bank = held.enter_context(CameraBank({f"camera{i}": clip for i in range(cameras)}))
        stack = held.enter_context(stack_of(bank, folder))
        watch = held.enter_context(Watch(stack, folder, bank.names))
        url = f"http://127.0.0.1:{stack.port}/cameras/camera0/stream.mjpg"
        held.enter_context(Viewer(url))
        pids, began_s = stack.parts(), time.monotonic()
        while (left_s := began_s + seconds - time.monotonic()) > 0:
            say(f"{left_s:.0f} s to go; {watch.ledger.as_metrics()}")
            try:
                time.sleep(min(60.0, left_s))
            except KeyboardInterrupt:  # ended early: the record says for how long it ran
                break
        warm_s = min(_WARM_UP_S, _WARM_UP_SHARE * (time.monotonic() - began_s))
        sizes = [s for s in watch.seen.sizes if s.at_s - began_s > warm_s]
        ledger = from_samples(stack.samples())
        return {
            "seconds": round(time.monotonic() - began_s),
            "cameras": cameras,
            "restarts": sum(stack.parts().get(part) != pid for part, pid in pids.items()),
            "warm_up_s": round(warm_s),
            "growth_per_hour": growth(thinned(sizes, _EACH_S)),
            "bounds_per_hour": {"memory_mb": MEMORY_MB_PER_HOUR, "others": COUNTS_PER_HOUR},
            "level": {
                "rss_mb": sizes[-1].rss_mb,
                "threads": sizes[-1].threads,
                "descriptors": sizes[-1].descriptors,
                "keys": sizes[-1].keys,
                "broker_mb": sizes[-1].broker_mb,
            },
            "rss_mb_each_minute": {
                part: [s.rss_mb.get(part) for s in thinned(watch.seen.sizes, 60.0)]
                for part in PARTS
            },
            "ledger": ledger.as_metrics(),
            "unexplained": ledger.unaccounted,
            "looks_with_unexplained": len(watch.seen.unexplained),
        }


def thinned(sizes: Sequence[Sizes], each_s: float) -> list[Sizes]:
    """One in so many seconds."""
    kept: list[Sizes] = []
    for size in sizes:
        if not kept or size.at_s - kept[-1].at_s >= each_s:
            kept.append(size)
    return kept


def growth(sizes: Sequence[Sizes]) -> Figures:
    """An hour's growth, by kind and part."""

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
