"""Assignment of cameras to replicas."""

from __future__ import annotations

from collections import Counter

import pytest
from facestream.capture.ownership.assignment import LeaseTable, assign_cameras
from hypothesis import given
from hypothesis import strategies as st

CAMERAS = [f"c{i}" for i in range(7)]
NAMES = ["a", "b", "c", "d"]


def test_one_replica_gets_all_cameras() -> None:
    assert assign_cameras(CAMERAS, LeaseTable({"a": 32})) == dict.fromkeys(CAMERAS, "a")


def test_a_new_replica_gets_its_quota_and_no_other_camera_moves() -> None:
    before = assign_cameras(CAMERAS, LeaseTable({"a": 32, "b": 32}))
    after = assign_cameras(CAMERAS, LeaseTable({"a": 32, "b": 32, "c": 32}, before))
    assert sorted(Counter(after.values()).values()) == [2, 2, 3]
    assert {after[c] for c in CAMERAS if after[c] != before[c]} == {"c"}


def test_the_cameras_of_a_dead_replica_go_to_the_others_and_no_other_camera_moves() -> None:
    before = assign_cameras(CAMERAS, LeaseTable({"a": 32, "b": 32, "c": 32}))
    remaining = {c: r for c, r in before.items() if r != "b"}
    after = assign_cameras(CAMERAS, LeaseTable({"a": 32, "c": 32}, remaining))
    assert after.items() >= remaining.items()
    assert sorted(Counter(after.values()).values()) == [3, 4]


def test_capacity_limits_the_quota() -> None:
    assignment = assign_cameras(CAMERAS, LeaseTable({"a": 2, "b": 32}))
    assert Counter(assignment.values()) == {"a": 2, "b": 5}


def test_cameras_beyond_the_total_capacity_are_unassigned() -> None:
    assignment = assign_cameras(CAMERAS, LeaseTable({"a": 2, "b": 1}))
    assert Counter(assignment.values()) == {"a": 2, "b": 1}


def test_cameras_that_cannot_move_count_as_load() -> None:
    attached = {"usb0": "a", "usb1": "a"}
    assignment = assign_cameras(["x", "y", "z"], LeaseTable({"a": 32, "b": 32}, attached))
    assert Counter(assignment.values())["b"] >= 2
    assert assignment.keys() == {"x", "y", "z"}


def test_without_replicas_no_camera_is_assigned() -> None:
    assert assign_cameras(CAMERAS, LeaseTable()) == {}


@pytest.mark.parametrize("replicas", [1, 2, 3, 4])
@given(data=st.data())
def test_assignments_are_even_stable_and_within_capacity(
    replicas: int, data: st.DataObject
) -> None:
    capacities = {n: data.draw(st.integers(1, 9)) for n in NAMES[:replicas]}
    cameras = {f"c{i}" for i in range(data.draw(st.integers(0, 25)))}
    holders = data.draw(
        st.dictionaries(st.sampled_from(sorted(cameras)), st.sampled_from(sorted(capacities)))
        if cameras
        else st.just({})
    )
    assignment = assign_cameras(cameras, LeaseTable(capacities, holders))
    counts = Counter(assignment.values())
    assert len(assignment) == min(len(cameras), sum(capacities.values()))
    assert all(counts[name] <= capacity for name, capacity in capacities.items())
    with_room = [counts[name] for name, capacity in capacities.items() if counts[name] < capacity]
    if with_room:
        assert max(counts.values(), default=0) <= min(with_room) + 1
    assert assign_cameras(cameras, LeaseTable(capacities, assignment)) == assignment
