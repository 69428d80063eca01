"""Send a looped clip as live RTP packets to any number of clients, over TCP and UDP.

Each client starts at the next keyframe. The packets of a frame are built once for all clients. A
client that reads too slowly loses frames up to the next keyframe; its queue holds at most
`MAX_UNSENT_BYTES` and one frame.
"""

from __future__ import annotations

import asyncio
import secrets
import struct
from dataclasses import dataclass, field

from facestream.demo.h264_packetizer import CLOCK_HZ, AccessUnit, Clip
from facestream.demo.rtsp_protocol import PAYLOAD_TYPE, TRACK, Transport

MAX_UNSENT_BYTES = 2 * 1024 * 1024
MAX_LATE_S = 1.0  # a server that is later than this skips ahead instead of sending a burst
INTERLEAVED_MAGIC = b"$"

_RTP = struct.Struct("!BBHII")
_INTERLEAVED = struct.Struct("!cBH")
_RTP_VERSION, _MARKER = 0x80, 0x80


@dataclass(eq=False)
class PlayingClient:
    """One playing client."""

    writer: asyncio.StreamWriter
    transport: Transport
    host: str
    is_synced: bool = False  # has received a keyframe since it joined or last lost a frame
    lost_frames: int = 0


@dataclass(eq=False)
class RtspStream:
    """One path: a clip that is played to its clients in real time.

    start_s: when its first unit was due, on the event loop's (monotonic) clock.
    """

    clip: Clip
    phase_ticks: int = 0
    clients: set[PlayingClient] = field(default_factory=set)
    seq: int = field(default_factory=lambda: secrets.randbelow(1 << 15))
    first_timestamp: int = field(default_factory=lambda: secrets.randbelow(1 << 31))
    ssrc: int = field(default_factory=lambda: secrets.randbits(32))
    next_pts_ticks: int = 0
    start_s: float = 0.0

    async def play(self, udp: asyncio.DatagramTransport) -> None:
        """Send each frame when it is due, until canceled."""
        clock = asyncio.get_running_loop().time
        self.start_s = clock() - self.phase_ticks / CLOCK_HZ
        count = self.clip.first_count_at(self.phase_ticks)
        while True:
            unit, due_ticks, pts_ticks = self.clip.schedule(count)
            self.next_pts_ticks = pts_ticks
            wait_s = self.start_s + due_ticks / CLOCK_HZ - clock()
            if wait_s < -MAX_LATE_S:
                self.start_s -= wait_s
            elif wait_s > 0:
                await asyncio.sleep(wait_s)
            if self.clients:
                self._send(unit, pts_ticks, udp)
            else:
                self.seq += len(unit.payloads)
            count += 1

    def format_rtp_info(self, url: str) -> str:
        """Return the RTP-Info header of the response to PLAY: where the stream continues."""
        timestamp = self._timestamp(self.next_pts_ticks)
        return f"url={url.rstrip('/')}/{TRACK};seq={self.seq & 0xFFFF};rtptime={timestamp}"

    def _timestamp(self, pts_ticks: int) -> int:
        return (self.first_timestamp + pts_ticks) & 0xFFFFFFFF

    def _send(self, unit: AccessUnit, pts_ticks: int, udp: asyncio.DatagramTransport) -> None:
        timestamp, last = self._timestamp(pts_ticks), len(unit.payloads) - 1
        packets = [
            _RTP.pack(
                _RTP_VERSION,
                PAYLOAD_TYPE | (_MARKER if i == last else 0),
                (self.seq + i) & 0xFFFF,
                timestamp,
                self.ssrc,
            )
            + payload
            for i, payload in enumerate(unit.payloads)
        ]
        self.seq += len(packets)
        interleaved: dict[int, bytes] = {}
        for client in self.clients:
            if not _accepts_frame(client, unit.is_keyframe):
                continue
            if client.transport.udp_ports:
                for packet in packets:
                    udp.sendto(packet, (client.host, client.transport.udp_ports[0]))
                continue
            channel = client.transport.channel
            if channel not in interleaved:
                interleaved[channel] = b"".join(
                    _INTERLEAVED.pack(INTERLEAVED_MAGIC, channel, len(packet)) + packet
                    for packet in packets
                )
            client.writer.write(interleaved[channel])


def _accepts_frame(client: PlayingClient, is_keyframe: bool) -> bool:
    """Update whether the client is synced, count a lost frame, and return whether to send."""
    if client.writer.transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
        client.is_synced = False
    elif is_keyframe:
        client.is_synced = True
    client.lost_frames += not client.is_synced
    return client.is_synced
