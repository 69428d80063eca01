"""Who reads which camera."""

from __future__ import annotations

from collections import Counter

import pytest
from facestream.capture.ownership.assignment import LeaseTable, assign_cameras
from hypothesis import given
from hypothesis import strategies as st

CAMERAS = [f"c{i}" for i in range(7)]
NAMES = ["a", "b", "c", "d"]


def test_one_replica_reads_all() -> None:
    assert assign_cameras(CAMERAS, LeaseTable({"a": 32})) == dict.fromkeys(CAMERAS, "a")


def test_a_new_replica_gets_its_share_and_nothing_else_moves() -> None:
    before = assign_cameras(CAMERAS, LeaseTable({"a": 32, "b": 32}))
    after = assign_cameras(CAMERAS, LeaseTable({"a": 32, "b": 32, "c": 32}, before))
    assert sorted(Counter(after.values()).values()) == [2, 2, 3]
    assert {after[c] for c in CAMERAS if after[c] != before[c]} == {"c"}


def test_the_cameras_of_one_that_is_gone_go_to_the_others_and_nothing_else_moves() -> None:
    before = assign_cameras(CAMERAS, LeaseTable({"a": 32, "b": 32, "c": 32}))
    left = {c: r for c, r in before.items() if r != "b"}
    after = assign_cameras(CAMERAS, LeaseTable({"a": 32, "c": 32}, left))
    assert after.items() >= left.items()
    assert sorted(Counter(after.values()).values()) == [3, 4]


def test_a_small_replica_leaves_the_rest_to_a_large_one() -> None:
    shares = assign_cameras(CAMERAS, LeaseTable({"a": 2, "b": 32}))
    assert Counter(shares.values()) == {"a": 2, "b": 5}


def test_what_nobody_has_room_for_is_left_out() -> None:
    shares = assign_cameras(CAMERAS, LeaseTable({"a": 2, "b": 1}))
    assert Counter(shares.values()) == {"a": 2, "b": 1}


def test_cameras_that_cannot_move_count_as_load() -> None:
    plugged_in = {"usb0": "a", "usb1": "a"}
    shares = assign_cameras(["x", "y", "z"], LeaseTable({"a": 32, "b": 32}, plugged_in))
    assert Counter(shares.values())["b"] >= 2
    assert shares.keys() == {"x", "y", "z"}


def test_without_replicas_nothing_is_shared() -> None:
    assert assign_cameras(CAMERAS, LeaseTable()) == {}


@pytest.mark.parametrize("replicas", [1, 2, 3, 4])
@given(data=st.data())
def test_shares_are_even_stable_and_never_too_many(replicas: int, data: st.DataObject) -> None:
    capacities = {n: data.draw(st.integers(1, 9)) for n in NAMES[:replicas]}
    cameras = {f"c{i}" for i in range(data.draw(st.integers(0, 25)))}
    holders = data.draw(
        st.dictionaries(st.sampled_from(sorted(cameras)), st.sampled_from(sorted(capacities)))
        if cameras
        else st.just({})
    )
    shares = assign_cameras(cameras, LeaseTable(capacities, holders))
    counts = Counter(shares.values())
    assert len(shares) == min(len(cameras), sum(capacities.values()))
    assert all(counts[name] <= most for name, most in capacities.items())
    with_room = [counts[name] for name, most in capacities.items() if counts[name] < most]
    if with_room:
        assert max(counts.values(), default=0) <= min(with_room) + 1
    assert assign_cameras(cameras, LeaseTable(capacities, shares)) == shares
