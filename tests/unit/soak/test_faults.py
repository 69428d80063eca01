"""Which faults come when."""

from __future__ import annotations

from itertools import islice

from tests.soak.faults import KINDS, rounds


def test_a_seed_gives_the_same_faults_again() -> None:
    assert list(islice(rounds(3), 50)) == list(islice(rounds(3), 50))
    assert list(islice(rounds(3), 50)) != list(islice(rounds(4), 50))


def test_every_kind_comes_to_every_target_before_one_comes_again() -> None:
    every = [(kind, target) for kind, targets in KINDS.items() for target in targets]
    seen = [(f.kind, f.target) for faults in islice(rounds(1), len(every)) for f in faults]
    assert set(seen[: len(every)]) == set(every)


def test_two_at_a_time_never_have_one_target() -> None:
    some = list(islice(rounds(2), 200))
    assert {len(faults) for faults in some} == {1, 2}
    assert all(len({f.target for f in faults}) == len(faults) for faults in some)
