from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from facestream.common.core.errors import ImageError
from facestream.demo.h264_packetizer import (
    CLOCK_HZ,
    MAX_PAYLOAD_BYTES,
    Clip,
    packetize_nal,
    split_nals,
)

from tests.fixtures.stack import make_clip

FPS = 15


def reassemble(payloads: list[bytes]) -> bytes:
    """Reassemble FU-A fragments as a receiver does (RFC 6184 section 5.8)."""
    first = payloads[0]
    assert all(payload[0] & 0x1F == 28 for payload in payloads)
    starts = [bool(payload[1] & 0x80) for payload in payloads]
    ends = [bool(payload[1] & 0x40) for payload in payloads]
    assert starts == [True] + [False] * (len(payloads) - 1)
    assert ends == [False] * (len(payloads) - 1) + [True]
    header = (first[0] & 0xE0) | (first[1] & 0x1F)
    return bytes([header]) + b"".join(payload[2:] for payload in payloads)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    return Clip.load(make_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", seconds=2, fps=FPS))


def test_start_codes_of_both_lengths_are_split() -> None:
    stream = b"\x00\x00\x00\x01\x67abc\x00\x00\x01\x68d\x00\x00\x00\x01\x65e"
    assert split_nals(stream) == [b"\x67abc", b"\x68d", b"\x65e"]


def test_small_nal_is_one_payload() -> None:
    nal = b"\x65" + bytes(MAX_PAYLOAD_BYTES - 1)
    assert packetize_nal(nal) == [nal]


@pytest.mark.parametrize("extra", [1, 2, 1397, 1398, 1399, 10_000])
def test_large_nal_is_reassembled(extra: int) -> None:
    nal = b"\x65" + bytes(i % 251 for i in range(MAX_PAYLOAD_BYTES - 1 + extra))
    payloads = packetize_nal(nal)
    assert max(map(len, payloads)) <= MAX_PAYLOAD_BYTES
    assert reassemble(payloads) == nal


def test_clip_has_size_duration_and_parameter_sets(clip: Clip) -> None:
    assert (clip.width, clip.height) == (128, 96)
    assert len(clip.units) == 2 * FPS
    assert clip.duration_ticks == 2 * CLOCK_HZ
    assert clip.units[0].is_keyframe
    assert (clip.sps[0] & 0x1F, clip.pps[0] & 0x1F) == (7, 8)


def test_timestamps_continue_evenly_across_the_loop(clip: Clip) -> None:
    times = [clip.schedule(count)[2] for count in range(5 * FPS)]
    assert {after - before for before, after in itertools.pairwise(times)} == {CLOCK_HZ // FPS}


def test_first_count_at_inverts_schedule(clip: Clip) -> None:
    for count in (0, 1, 29, 30, 31, 75):
        assert clip.first_count_at(clip.schedule(count)[1]) == count
    assert clip.first_count_at(1) == 1
    assert clip.first_count_at(clip.duration_ticks - 1) == len(clip.units)


@pytest.mark.parametrize("content", [None, b"", b"not a video at all"])
def test_invalid_file_is_one_line(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "x.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ImageError, match=r"x\.mp4: cannot be read as a video") as caught:
        Clip.load(path)
    assert "\n" not in str(caught.value)
