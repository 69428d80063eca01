"""One visit: a person's stay in a camera's picture, as the tracks that follow one another. Pure.

Lengths are in picture heights unless they are said to be in face sizes; times are of the camera's
clock, which stands still while it sends nothing, unless they are Unix times (`…_at`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from facestream.annotator.counting.region_crossing import Crossing, RegionCrossingTracker
from facestream.annotator.people.attribute_fusion import Estimate
from facestream.common.broker.messages import Frame, Track
from facestream.common.cameras.regions import Line, Zone
from facestream.common.vision.displayed_estimate import DisplayedEstimate

# Lengths in face sizes.
NEAR = 1.0  # a lost face is looked for so far from where it should be …
NEAR_GROWTH = 0.5  # … and further by so much a second …
MAX_NEAR = 2.5  # … but not further than this
MAX_SIZE_RATIO = 1.8
COAST_S = 0.8  # it is thought to have gone on moving for so long
_PARTS = 3  # of a visit that may still change: tracks that come back after being taken for lost

TrackId = tuple[int, int]  # (session, track)


@dataclass(slots=True)
class TrackSegment:
    """One track of a visit. Lengths are in picture heights, x and y are of the face's middle."""

    key: TrackId
    estimate: Estimate | None
    first_s: float
    seen_s: float
    seen_us: int  # the same sight by capture's clock
    x: float
    y: float
    size: float
    began_x: float
    began_y: float
    began_size: float
    vx: float = 0.0
    vy: float = 0.0


@dataclass(frozen=True, slots=True)
class JoinSnapshot:
    """What a visit was before a track was joined to it that may be somebody else's."""

    fresh: Visit  # that of the track alone
    walk: RegionCrossingTracker
    waiting: list[tuple[float, Crossing]]
    left_at: float


@dataclass(slots=True)
class Visit:
    """A stay that lasts."""

    began_at: float  # Unix time
    known_s: float  # since when it is followed here; it may have begun before, and been counted
    walk: RegionCrossingTracker
    parts: list[TrackSegment]
    left_at: float  # Unix time of the last sight
    past: Estimate | None = None  # of tracks before those in `parts` …
    past_s: float = 0.0  # … and for how long they were seen
    waiting: list[tuple[float, Crossing]] = field(default_factory=list)
    join_snapshot: JoinSnapshot | None = (
        None  # while it is not sure that its last track belongs to it
    )
    is_counted: bool = False
    is_alone: bool = False  # that it is not another one carried on

    @property
    def last(self) -> TrackSegment:
        """The track that it lasts by, or lasted by last."""
        return self.parts[-1]

    @property
    def is_sure(self) -> bool:
        """Whether all its tracks belong to it, as far as is known."""
        return self.join_snapshot is None

    def seen_s(self) -> float:
        """For how long it was in sight."""
        return self.past_s + sum(part.seen_s - part.first_s for part in self.parts)

    def shown(self) -> DisplayedEstimate:
        """What all its tracks together say."""
        return merge_estimates(self.past, *(part.estimate for part in self.parts))

    def estimate_without_last(self) -> DisplayedEstimate:
        """What all but its last track say."""
        return merge_estimates(self.past, *(part.estimate for part in self.parts[:-1]))

    def add_track(self, part: TrackSegment) -> TrackId | None:
        """Another track follows; the one that is too old for anything to come of it is given back.

        It is summed up: somebody may look away and back all day, and have a new track each time.
        """
        self.parts.append(part)
        if len(self.parts) <= _PARTS:
            return None
        old = self.parts.pop(0)
        self.past_s += old.seen_s - old.first_s
        again = next((later for later in self.parts if later.key == old.key), None)
        if again is not None:
            again.estimate = again.estimate or old.estimate
            return None
        if old.estimate is not None:
            self.past = Estimate.merged([e for e in (self.past, old.estimate) if e is not None])
        return old.key

    def redraw(self, zones: Sequence[Zone], lines: Sequence[Line]) -> None:
        """The camera has other zones or lines now."""
        self.walk.set_regions(zones, lines)
        if self.join_snapshot is not None:
            self.join_snapshot.walk.set_regions(zones, lines)
            self.join_snapshot.fresh.redraw(zones, lines)


def merge_estimates(*estimates: Estimate | None) -> DisplayedEstimate:
    """What estimates of one person say together; nothing where there are none."""
    known = [estimate for estimate in estimates if estimate is not None]
    if len(known) < 2:
        return known[0].shown if known else DisplayedEstimate()
    return Estimate.merged(known).shown


def seen_us_of(frame: Frame, track: Track) -> int:
    """When it was last seen; capture of an older version does not tell."""
    return track.last_detected_us or frame.captured_us


def ago_s_of(frame: Frame, at_us: int) -> float:
    """How long before the frame that was."""
    return max(0.0, (frame.captured_us - at_us) / 1e6)


def start_segment(
    key: TrackId,
    frame: Frame,
    track: Track,
    estimate: Estimate | None,
    clock_s: float,
    age_s: float = 0.0,
) -> TrackSegment:
    """A track as it begins in this frame.

    Args:
        clock_s: the camera's, at the frame.
        age_s: for how long it has been followed.
    """
    x, y, size = _middle(track, frame.height)
    seen_us = frame.captured_us - round(age_s * 1e6)
    return TrackSegment(
        key, estimate, clock_s - age_s, clock_s - age_s, seen_us, x, y, size, x, y, size
    )


def update_segment(
    part: TrackSegment, frame: Frame, track: Track, seen_us: int, seen_s: float
) -> None:
    """Take a new sight of the track in: by capture's clock, microseconds, and by the camera's."""
    x, y, size = _middle(track, frame.height)
    elapsed_s = (seen_us - part.seen_us) / 1e6
    if elapsed_s > 0:
        # Halfway to what the last step says: boxes tremble.
        part.vx += 0.5 * ((x - part.x) / elapsed_s - part.vx)
        part.vy += 0.5 * ((y - part.y) / elapsed_s - part.vy)
    part.x, part.y, part.size = x, y, size
    part.seen_s, part.seen_us = max(seen_s, part.seen_s), seen_us


def _middle(track: Track, height: int) -> tuple[float, float, float]:
    size = math.sqrt(max(0.0, track.w) * max(0.0, track.h)) / height
    return (track.x + track.w / 2) / height, (track.y + track.h / 2) / height, size


def distance(lost: TrackSegment, found: TrackSegment, gap_s: float) -> float | None:
    """From where a lost face may be to where another began, in face sizes; None if too far.

    It may have gone on as it did, or have stopped on the way.
    """
    size = max(lost.size, found.began_size)
    if size <= 0 or min(lost.size, found.began_size) * MAX_SIZE_RATIO < size:
        return None
    ahead_s = min(gap_s, COAST_S)
    way_x, way_y = lost.vx * ahead_s, lost.vy * ahead_s
    off_x, off_y = found.began_x - lost.x, found.began_y - lost.y
    square = way_x * way_x + way_y * way_y
    share = (off_x * way_x + off_y * way_y) / square if square > 0 else 0.0
    share = min(1.0, max(0.0, share))
    off = math.hypot(off_x - share * way_x, off_y - share * way_y)
    near = min(NEAR + NEAR_GROWTH * gap_s, MAX_NEAR)
    return off / size if off <= near * size else None


def is_compatible(one: DisplayedEstimate, other: DisplayedEstimate) -> bool:
    """Whether two estimates may be of one person; what is not known is no objection."""
    if one.female_probability is not None and other.female_probability is not None:
        return (one.female_probability >= 0.5) == (other.female_probability >= 0.5) and _ages_meet(
            one, other
        )
    return _ages_meet(one, other)


def _ages_meet(one: DisplayedEstimate, other: DisplayedEstimate) -> bool:
    if one.age_low is None or one.age_high is None:
        return True
    if other.age_low is None or other.age_high is None:
        return True
    return one.age_low <= other.age_high and other.age_low <= one.age_high
