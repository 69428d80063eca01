"""Split an H.264 file into RTP payloads (RFC 6184, packetization mode 1), once for all loops.

`Clip.load` reads a video file into access units in decoding order, with the parameter sets that an
SDP needs. Timestamps continue across the loop: `Clip.schedule` returns those of a running count of
units. No I/O but reading the file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import av.bitstream
import av.error

from facestream.common.core.errors import ImageError

CLOCK_HZ = 90_000  # RTP clock of H.264, RFC 6184 section 8.2.1
MAX_PAYLOAD_BYTES = 1400  # fits an Ethernet frame with RTP, UDP and IP headers

_START_CODE = re.compile(rb"\x00?\x00\x00\x01")
_NAL_TYPE_MASK = 0x1F
_NAL_SPS, _NAL_PPS, _NAL_AUD = 7, 8, 9
_FU_A, _FU_START, _FU_END = 28, 0x80, 0x40
_DEFAULT_FPS = 15


@dataclass(frozen=True, slots=True)
class AccessUnit:
    """One access unit: a coded frame.

    dts_ticks: when it is due to be sent; pts_ticks: its presentation time. Both are in 1/90000 s
    from the clip's first unit. payloads: RTP payloads, the last of which ends the frame.
    """

    dts_ticks: int
    pts_ticks: int
    is_keyframe: bool
    payloads: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Clip:
    """Video of `duration_ticks` / 90000 s, ready to be sent in a loop."""

    units: tuple[AccessUnit, ...]
    duration_ticks: int
    width: int
    height: int
    sps: bytes
    pps: bytes

    @classmethod
    def load(cls, path: Path) -> Clip:
        """Read the first video stream of a file.

        Raises:
            ImageError: the file is unreadable, has no video, or is not H.264.
        """
        try:
            return _load(path)
        except (OSError, av.error.FFmpegError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ImageError(f"{path}: cannot be read as a video: {reason}") from None

    def schedule(self, count: int) -> tuple[AccessUnit, int, int]:
        """Return the `count`-th unit since the start, its send and its presentation time."""
        loop, index = divmod(count, len(self.units))
        unit, start = self.units[index], loop * self.duration_ticks
        return unit, start + unit.dts_ticks, start + unit.pts_ticks

    def first_count_at(self, ticks: int) -> int:
        """Return the first count that is due at or after `ticks`."""
        loop, within = divmod(ticks, self.duration_ticks)
        index = next(
            (i for i, unit in enumerate(self.units) if unit.dts_ticks >= within), len(self.units)
        )
        return loop * len(self.units) + index


def split_nals(annex_b: bytes) -> list[bytes]:
    """Return the NAL units of an Annex B byte stream (ITU-T H.264, B.1), without start codes."""
    nals = (nal.rstrip(b"\x00") for nal in _START_CODE.split(annex_b))
    return [nal for nal in nals if nal]


def packetize_nal(nal: bytes, limit: int = MAX_PAYLOAD_BYTES) -> list[bytes]:
    """Return the RTP payloads of a NAL unit: itself, or FU-A fragments (RFC 6184 section 5.8)."""
    if len(nal) <= limit:
        return [nal]
    indicator = (nal[0] & ~_NAL_TYPE_MASK) | _FU_A
    nal_type = nal[0] & _NAL_TYPE_MASK
    step, body = limit - 2, nal[1:]
    starts = range(0, len(body), step)
    return [
        bytes(
            (
                indicator,
                nal_type
                | (_FU_START if start == 0 else 0)
                | (_FU_END if start + step >= len(body) else 0),
            )
        )
        + body[start : start + step]
        for start in starts
    ]


def _load(path: Path) -> Clip:
    with av.open(str(path)) as container:
        if not container.streams.video:
            raise ImageError(f"{path}: contains no video stream")
        stream = container.streams.video[0]
        if stream.codec_context.name != "h264":
            raise ImageError(f"{path}: is {stream.codec_context.name}, not H.264; convert it first")
        width, height = stream.codec_context.width, stream.codec_context.height
        rate = stream.average_rate or Fraction(_DEFAULT_FPS)
        to_annex_b = av.bitstream.BitStreamFilterContext("h264_mp4toannexb", stream)
        raw: list[tuple[int, int, bool, list[bytes]]] = []
        for packet in container.demux(stream):
            for out in to_annex_b.filter(packet if packet.size else None):
                if out.dts is None or out.pts is None:
                    raise ImageError(f"{path}: has no timestamps; remux it to MP4 first")
                unit_ticks = out.time_base * CLOCK_HZ
                nals = split_nals(bytes(out))
                raw.append(
                    (
                        round(out.dts * unit_ticks),
                        round(out.pts * unit_ticks),
                        out.is_keyframe,
                        nals,
                    )
                )
    sps = _first_nal(raw, _NAL_SPS)
    pps = _first_nal(raw, _NAL_PPS)
    if not raw or not raw[0][2] or not sps or not pps:
        raise ImageError(f"{path}: does not start with a keyframe")
    first_dts = raw[0][0]
    units = tuple(
        AccessUnit(dts - first_dts, pts - first_dts, is_keyframe, _packetize(nals))
        for dts, pts, is_keyframe, nals in raw
    )
    duration = units[-1].dts_ticks + round(CLOCK_HZ / rate)
    return Clip(units, duration, width, height, sps, pps)


def _packetize(nals: list[bytes]) -> tuple[bytes, ...]:
    return tuple(
        payload
        for nal in nals
        if nal[0] & _NAL_TYPE_MASK != _NAL_AUD
        for payload in packetize_nal(nal)
    )


def _first_nal(raw: list[tuple[int, int, bool, list[bytes]]], nal_type: int) -> bytes:
    for _, _, _, nals in raw:
        for nal in nals:
            if nal[0] & _NAL_TYPE_MASK == nal_type:
                return nal
    return b""
