"""Answers of the broker, in either protocol."""

from facestream.common.broker.connection import by_stream

ENTRIES = [(b"7-1", {b"m": b"x"}), (b"7-2", None)]


def test_streams_are_read_alike_in_both_protocols() -> None:
    as_list = [[b"a", ENTRIES], [b"b", ENTRIES[:1]]]
    as_map = {b"a": [ENTRIES], b"b": [ENTRIES[:1]]}
    expected = [(b"a", ENTRIES), (b"b", ENTRIES[:1])]
    assert by_stream(as_list) == by_stream(as_map) == expected
    assert by_stream(None) == by_stream([]) == by_stream({}) == []
