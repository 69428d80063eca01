"""Replies to XREAD in RESP2 and RESP3."""

from facestream.common.broker.connection import parse_xread

ENTRIES = [(b"7-1", {b"m": b"x"}), (b"7-2", None)]


def test_both_protocols_give_the_same_entries() -> None:
    as_list = [[b"a", ENTRIES], [b"b", ENTRIES[:1]]]
    as_map = {b"a": [ENTRIES], b"b": [ENTRIES[:1]]}
    expected = [(b"a", ENTRIES), (b"b", ENTRIES[:1])]
    assert parse_xread(as_list) == parse_xread(as_map) == expected
    assert parse_xread(None) == parse_xread([]) == parse_xread({}) == []
