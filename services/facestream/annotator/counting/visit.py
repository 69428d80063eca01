"""One visit: a person's stay in front of a camera, as a sequence of tracks. No I/O.

Lengths are in frame heights, except where face sizes are named. Times are Unix times where the name
ends in `_at`. All others are readings of the camera's clock, which stops while no frames come.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from facestream.annotator.counting.region_crossing import Crossing, RegionCrossingTracker
from facestream.common.broker.messages import Frame, Track
from facestream.common.cameras.regions import Line, Zone
from facestream.common.vision.attribute_fusion import Estimate
from facestream.common.vision.displayed_estimate import DisplayedEstimate

# A new track may continue a lost one within this radius of the lost face's predicted position, in
# face sizes. The radius grows per second since the loss.
MATCH_RADIUS = 1.0
MATCH_RADIUS_GROWTH = 0.5
MAX_MATCH_RADIUS = 2.5
# The radius also grows per second by which detections are further apart than this: where a face
# went in between, and how fast, is not known.
CLOSE_INTERVAL_S = 0.2
INTERVAL_RADIUS_GROWTH = 12.0
MAX_INTERVAL_RADIUS = 6.0
# One person's face changes its size little, and more the longer it was not seen.
SIZE_RATIO = 1.2
SIZE_RATIO_GROWTH = 0.1
MAX_SIZE_RATIO = 1.8
COAST_S = 0.8  # a lost face is assumed to keep its velocity for this long
_MAX_SEGMENTS = 3  # of a visit; older tracks can no longer change it

TrackId = tuple[int, int]  # (session, track)


@dataclass(frozen=True, slots=True)
class CountEvent:
    """One visit, or one crossing of the zone or line `region`.

    timestamp: Unix time, seconds; kind: "visit", "enter" or "leave"; dwell_s: how long the person
    was in view until counted.
    """

    timestamp: float
    kind: str
    region: str
    estimate: DisplayedEstimate
    dwell_s: float


@dataclass(slots=True)
class TrackSegment:
    """One track of a visit; x and y are the center of the face."""

    key: TrackId
    estimate: Estimate | None
    first_detected_s: float
    last_detected_s: float
    last_detected_us: int  # the same detection by capture's clock
    x: float
    y: float
    size: float
    start_x: float
    start_y: float
    start_size: float
    vx: float = 0.0
    vy: float = 0.0


@dataclass(frozen=True, slots=True)
class JoinSnapshot:
    """State of a visit before an unconfirmed track was joined to it, to undo the join."""

    separate: Visit  # the visit of that track alone
    regions: RegionCrossingTracker
    pending_crossings: list[tuple[float, Crossing]]
    last_detected_at: float


@dataclass(slots=True)
class Visit:
    """An open visit."""

    started_at: float
    # Camera clock: tracked here since. The visit may have started and been counted before that.
    tracked_since_s: float
    regions: RegionCrossingTracker
    segments: list[TrackSegment]
    last_detected_at: float
    earlier_estimate: Estimate | None = None  # of the tracks before those in `segments` …
    earlier_dwell_s: float = 0.0  # … and their total duration
    pending_crossings: list[tuple[float, Crossing]] = field(default_factory=list)
    join_snapshot: JoinSnapshot | None = None  # set while the last track is unconfirmed
    is_counted: bool = False
    is_separate: bool = False  # its track does not continue another visit

    @property
    def last(self) -> TrackSegment:
        """The newest track."""
        return self.segments[-1]

    @property
    def is_confirmed(self) -> bool:
        """Whether no join can be undone any more."""
        return self.join_snapshot is None

    def dwell_s(self) -> float:
        """Return the total duration of its tracks in seconds."""
        return self.earlier_dwell_s + sum(
            segment.last_detected_s - segment.first_detected_s for segment in self.segments
        )

    def estimate(self) -> DisplayedEstimate:
        """Return the fused estimate of all tracks."""
        return merge_estimates(self.earlier_estimate, *(s.estimate for s in self.segments))

    def estimate_without_last(self) -> DisplayedEstimate:
        """Return the fused estimate of all tracks but the last."""
        return merge_estimates(self.earlier_estimate, *(s.estimate for s in self.segments[:-1]))

    def add_track(self, segment: TrackSegment) -> TrackId | None:
        """Continue the visit with another track; return the id of a track that was summed up.

        Only the newest tracks stay as they are. A person who looks away and back all day has a new
        track each time, so older ones are merged to bound memory.
        """
        self.segments.append(segment)
        if len(self.segments) <= _MAX_SEGMENTS:
            return None
        oldest = self.segments.pop(0)
        self.earlier_dwell_s += oldest.last_detected_s - oldest.first_detected_s
        same_track = next((later for later in self.segments if later.key == oldest.key), None)
        if same_track is not None:
            same_track.estimate = same_track.estimate or oldest.estimate
            return None
        if oldest.estimate is not None:
            estimates = (self.earlier_estimate, oldest.estimate)
            self.earlier_estimate = Estimate.merged([e for e in estimates if e is not None])
        return oldest.key

    def set_regions(self, zones: Sequence[Zone], lines: Sequence[Line]) -> None:
        """Replace zones and lines after an admin changed them."""
        self.regions.set_regions(zones, lines)
        if self.join_snapshot is not None:
            self.join_snapshot.regions.set_regions(zones, lines)
            self.join_snapshot.separate.set_regions(zones, lines)


def merge_estimates(*estimates: Estimate | None) -> DisplayedEstimate:
    """Fuse the estimates of one person; return an empty estimate if there are none."""
    known = [estimate for estimate in estimates if estimate is not None]
    if len(known) < 2:
        return known[0].shown if known else DisplayedEstimate()
    return Estimate.merged(known).shown


def last_detected_us_of(frame: Frame, track: Track) -> int:
    """Return when the track was last detected; Frame messages without it mean the frame's time."""
    return track.last_detected_us or frame.captured_us


def seconds_before(frame: Frame, at_us: int) -> float:
    """Return how long before the frame a time by capture's clock is, at least 0."""
    return max(0.0, (frame.captured_us - at_us) / 1e6)


def start_segment(
    key: TrackId,
    frame: Frame,
    track: Track,
    estimate: Estimate | None,
    clock_s: float,
    age_s: float = 0.0,
) -> TrackSegment:
    """Create a segment for a track that is new in this frame.

    Args:
        key: session and number of the track.
        frame: the frame that brings the track.
        track: the track.
        estimate: its running estimate.
        clock_s: the camera's clock at the frame.
        age_s: time since its first detection.
    """
    x, y, size = _center(track, frame.height)
    detected_us = frame.captured_us - round(age_s * 1e6)
    return TrackSegment(
        key, estimate, clock_s - age_s, clock_s - age_s, detected_us, x, y, size, x, y, size
    )


def update_segment(
    segment: TrackSegment, frame: Frame, track: Track, detected_us: int, detected_s: float
) -> None:
    """Add a new detection, at this time by capture's clock and by the camera's clock."""
    x, y, size = _center(track, frame.height)
    elapsed_s = (detected_us - segment.last_detected_us) / 1e6
    if elapsed_s > 0:
        # Exponential smoothing by one half: boxes jitter.
        segment.vx += 0.5 * ((x - segment.x) / elapsed_s - segment.vx)
        segment.vy += 0.5 * ((y - segment.y) / elapsed_s - segment.vy)
    segment.x, segment.y, segment.size = x, y, size
    segment.last_detected_s = max(detected_s, segment.last_detected_s)
    segment.last_detected_us = detected_us


def _center(track: Track, height: int) -> tuple[float, float, float]:
    size = math.sqrt(max(0.0, track.w) * max(0.0, track.h)) / height
    return (track.x + track.w / 2) / height, (track.y + track.h / 2) / height, size


def distance(
    lost: TrackSegment, new: TrackSegment, gap_s: float, interval_s: float
) -> float | None:
    """Return the distance in face sizes from a lost face to the start of a new track.

    The lost face may have kept its velocity, or stopped anywhere on that path. None if the new
    track is too far away or its face differs too much in size.

    Args:
        lost: the track that ended.
        new: the track that may continue it.
        gap_s: time from the last detection of one to the first of the other.
        interval_s: usual time between two detections.
    """
    size = max(lost.size, new.start_size)
    size_ratio = min(SIZE_RATIO + SIZE_RATIO_GROWTH * gap_s, MAX_SIZE_RATIO)
    if size <= 0 or min(lost.size, new.start_size) * size_ratio < size:
        return None
    coast_s = min(gap_s, COAST_S)
    path_x, path_y = lost.vx * coast_s, lost.vy * coast_s
    offset_x, offset_y = new.start_x - lost.x, new.start_y - lost.y
    length_squared = path_x * path_x + path_y * path_y
    share = (offset_x * path_x + offset_y * path_y) / length_squared if length_squared > 0 else 0.0
    share = min(1.0, max(0.0, share))
    offset = math.hypot(offset_x - share * path_x, offset_y - share * path_y)
    radius = min(MATCH_RADIUS + MATCH_RADIUS_GROWTH * gap_s, MAX_MATCH_RADIUS)
    unseen_s = max(0.0, interval_s - CLOSE_INTERVAL_S)
    radius += min(INTERVAL_RADIUS_GROWTH * unseen_s, MAX_INTERVAL_RADIUS)
    return offset / size if offset <= radius * size else None


def is_compatible(a: DisplayedEstimate, b: DisplayedEstimate) -> bool:
    """Return whether two estimates may be of one person; an unknown attribute fits any other."""
    if a.female_probability is not None and b.female_probability is not None:
        return (a.female_probability >= 0.5) == (
            b.female_probability >= 0.5
        ) and _do_age_intervals_overlap(a, b)
    return _do_age_intervals_overlap(a, b)


def _do_age_intervals_overlap(a: DisplayedEstimate, b: DisplayedEstimate) -> bool:
    if a.age_low is None or a.age_high is None:
        return True
    if b.age_low is None or b.age_high is None:
        return True
    return a.age_low <= b.age_high and b.age_low <= a.age_high
