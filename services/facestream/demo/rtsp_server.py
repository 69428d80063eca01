"""A small RTSP server (RFC 2326) that plays looped clips as live cameras, over TCP and UDP.

Clips go in, one per path; RTP comes out. Every client of a path sees the same moment, as with a
real camera, and joins at the next key picture. The packets of a picture are built once for all
clients. A client that does not read loses pictures up to the next key picture; nothing is queued
for it beyond `MAX_UNSENT_BYTES`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import secrets
import struct
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from facestream.common.core.errors import StartError
from facestream.demo.h264_packetizer import CLOCK_HZ, Clip, Unit
from facestream.demo.rtsp_protocol import (
    METHODS,
    PAYLOAD_TYPE,
    TRACK,
    Request,
    Transport,
    basic_credentials,
    describe,
    format_response,
    parse_request,
    parse_transport,
)

MAX_UNSENT_BYTES = 2 * 1024 * 1024
MAX_REQUEST_BYTES = 16 * 1024
IDLE_TIMEOUT_S = 65.0  # the session timeout that is announced, and a little
MAX_LATE_S = 1.0  # a server held up for longer goes on from now, without a burst
START_TIMEOUT_S = 5.0

_RTP = struct.Struct("!BBHII")
_INTERLEAVED = struct.Struct("!cBH")
_RTP_VERSION, _MARKER = 0x80, 0x80
_DOLLAR = b"$"

log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Viewer:
    """One playing client."""

    writer: asyncio.StreamWriter
    transport: Transport
    host: str
    in_step: bool = False  # has had a key picture since it joined or last lost one
    pictures_lost: int = 0


@dataclass(eq=False)
class RtspStream:
    """One path: a clip being played to its viewers in real time.

    start_s: when its first unit was due, on the event loop's (monotonic) clock.
    """

    clip: Clip
    phase_ticks: int = 0
    viewers: set[_Viewer] = field(default_factory=set)
    seq: int = field(default_factory=lambda: secrets.randbelow(1 << 15))
    first_timestamp: int = field(default_factory=lambda: secrets.randbelow(1 << 31))
    ssrc: int = field(default_factory=lambda: secrets.randbits(32))
    next_show_ticks: int = 0
    start_s: float = 0.0

    async def play(self, udp: asyncio.DatagramTransport) -> None:
        """Send each picture when it is due, until cancelled."""
        clock = asyncio.get_running_loop().time
        self.start_s = clock() - self.phase_ticks / CLOCK_HZ
        count = self.clip.count_at(self.phase_ticks)
        while True:
            unit, due_ticks, show_ticks = self.clip.place(count)
            self.next_show_ticks = show_ticks
            wait_s = self.start_s + due_ticks / CLOCK_HZ - clock()
            if wait_s < -MAX_LATE_S:
                self.start_s -= wait_s
            elif wait_s > 0:
                await asyncio.sleep(wait_s)
            if self.viewers:
                self._send(unit, show_ticks, udp)
            else:
                self.seq += len(unit.payloads)
            count += 1

    def rtp_info(self, url: str) -> str:
        """Where the stream will go on, for the answer to PLAY."""
        timestamp = self._timestamp(self.next_show_ticks)
        return f"url={url.rstrip('/')}/{TRACK};seq={self.seq & 0xFFFF};rtptime={timestamp}"

    def _timestamp(self, show_ticks: int) -> int:
        return (self.first_timestamp + show_ticks) & 0xFFFFFFFF

    def _send(self, unit: Unit, show_ticks: int, udp: asyncio.DatagramTransport) -> None:
        timestamp, last = self._timestamp(show_ticks), len(unit.payloads) - 1
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
        for viewer in self.viewers:
            if not _may_send(viewer, unit.key):
                continue
            if viewer.transport.udp_ports:
                for packet in packets:
                    udp.sendto(packet, (viewer.host, viewer.transport.udp_ports[0]))
                continue
            number = viewer.transport.channel
            if number not in interleaved:
                interleaved[number] = b"".join(
                    _INTERLEAVED.pack(_DOLLAR, number, len(packet)) + packet for packet in packets
                )
            viewer.writer.write(interleaved[number])


def _may_send(viewer: _Viewer, key: bool) -> bool:
    if viewer.writer.transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
        viewer.in_step = False
    elif key:
        viewer.in_step = True
    viewer.pictures_lost += not viewer.in_step
    return viewer.in_step


class RtspServer:
    """Clips as live cameras at `rtsp://host:port/<path>`.

    Args:
        clips: path (no slashes around it) to clip. Several paths start at different moments.
        port: 0 takes a free one, told by `port` after `start`.
        credentials: user and password that clients must give (Basic), or None.
    """

    def __init__(
        self,
        clips: Mapping[str, Clip],
        host: str = "127.0.0.1",
        port: int = 8554,
        credentials: tuple[str, str] | None = None,
    ) -> None:
        self.host, self.port = host, port
        self._credentials = credentials
        self._channels = {
            path: RtspStream(clip, clip.duration_ticks * i // len(clips))
            for i, (path, clip) in enumerate(clips.items())
        }
        self._tasks: list[asyncio.Task[None]] = []
        self._clients: set[asyncio.Task[None]] = set()
        self._udp: list[asyncio.DatagramTransport] = []

    async def start(self) -> None:
        """Listen and begin to play.

        Raises:
            StartError: the port is taken or the address is not this machine's.
        """
        try:
            self._server = await asyncio.start_server(
                self._serve_client, self.host, self.port, limit=MAX_REQUEST_BYTES
            )
        except OSError as error:
            raise StartError(
                f"cannot listen on {self.host}:{self.port}: {error.strerror}; choose another port"
            ) from None
        self.port = self._server.sockets[0].getsockname()[1]
        loop = asyncio.get_running_loop()
        for _ in ("rtp", "rtcp"):
            transport, _protocol = await loop.create_datagram_endpoint(
                asyncio.DatagramProtocol, local_addr=(self.host, 0)
            )
            self._udp.append(transport)
        self._tasks = [
            asyncio.create_task(channel.play(self._udp[0])) for channel in self._channels.values()
        ]

    async def close(self) -> None:
        """Drop every client and stop."""
        self._server.close()
        for task in [*self._tasks, *self._clients]:
            task.cancel()
        await asyncio.gather(*self._tasks, *self._clients, return_exceptions=True)
        for transport in self._udp:
            transport.close()

    async def _serve_client(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._clients.add(task)
            task.add_done_callback(self._clients.discard)
        client = _Client(self, writer)
        try:
            await client.converse(reader)
        except (
            OSError,
            ValueError,
            asyncio.IncompleteReadError,
            asyncio.LimitOverrunError,
        ) as error:
            log.debug("client gone: %s", error)
        except asyncio.CancelledError:
            pass  # the server closes
        finally:
            client.leave()
            writer.transport.abort()

    def channel(self, path: str) -> RtspStream | None:
        """The channel that plays at a path."""
        return self._channels.get(path)

    def udp_ports(self) -> tuple[int, int]:
        """The ports that RTP and RTCP come from."""
        rtp, rtcp = (transport.get_extra_info("sockname")[1] for transport in self._udp)
        return rtp, rtcp

    def admits(self, request: Request) -> bool:
        """Whether the request carries the right user and password."""
        if self._credentials is None:
            return True
        given = basic_credentials(request.headers.get("authorization", ""))
        return given is not None and all(
            hmac.compare_digest(a.encode(), b.encode())
            for a, b in zip(given, self._credentials, strict=True)
        )


class _Client:
    """One TCP connection: its requests, and the stream that it set up."""

    def __init__(self, server: RtspServer, writer: asyncio.StreamWriter) -> None:
        self._server, self._writer = server, writer
        self._session = secrets.token_hex(8)
        self._transport: Transport | None = None
        self._channel: RtspStream | None = None
        self._viewer: _Viewer | None = None

    async def converse(self, reader: asyncio.StreamReader) -> None:
        """Answer requests until the client tears down, hangs up or falls silent."""
        while True:
            # Over TCP a client that merely watches need not speak; over UDP it must keep alive.
            over_tcp = self._viewer is not None and self._viewer.transport.udp_ports is None
            async with asyncio.timeout(None if over_tcp else IDLE_TIMEOUT_S):
                first = await reader.readexactly(1)
                if first == _DOLLAR:  # RTCP of the client
                    _, length = struct.unpack("!BH", await reader.readexactly(3))
                    await reader.readexactly(length)
                    continue
                head = await reader.readuntil(b"\r\n\r\n")
            try:
                request = parse_request((first + head[:-4]).decode("utf-8", "replace").lstrip())
            except ValueError:
                self._writer.write(format_response(400, None, {}, ""))
                return
            body_bytes = int(request.headers.get("content-length", "0"))
            if body_bytes > MAX_REQUEST_BYTES:
                self._writer.write(format_response(413, request, {}, ""))
                return
            await reader.readexactly(body_bytes)
            status, headers, body = self._answer(request)
            self._writer.write(format_response(status, request, headers, body))
            if self._writer.transport.get_write_buffer_size() > 2 * MAX_UNSENT_BYTES:
                return  # asks and asks, and reads no answer
            if request.method == "PLAY" and status == 200:
                self._join()
            if request.method == "TEARDOWN":
                await self._writer.drain()
                return

    def leave(self) -> None:
        """Stop sending to this client."""
        if self._channel is not None and self._viewer is not None:
            self._channel.viewers.discard(self._viewer)
            if self._viewer.pictures_lost:
                log.debug("a client lost %d pictures", self._viewer.pictures_lost)
        self._viewer = None

    def _join(self) -> None:
        if self._channel is not None and self._transport is not None and self._viewer is None:
            host = self._writer.get_extra_info("peername")[0]
            self._viewer = _Viewer(self._writer, self._transport, host)
            self._channel.viewers.add(self._viewer)

    def _answer(self, request: Request) -> tuple[int, dict[str, str], str]:
        if request.method == "OPTIONS":
            return 200, {"Public": METHODS}, ""
        if not self._server.admits(request):
            return 401, {"WWW-Authenticate": 'Basic realm="facestream"'}, ""
        session = {"Session": f"{self._session};timeout=60"}
        if request.method in ("GET_PARAMETER", "SET_PARAMETER", "TEARDOWN"):
            return 200, session, ""
        if request.method not in ("DESCRIBE", "SETUP", "PLAY"):
            return 501, {"Public": METHODS}, ""
        channel = self._server.channel(request.path)
        if channel is None:
            return 404, {}, ""
        if request.method == "DESCRIBE":
            return 200, {"Content-Base": request.url.rstrip("/") + "/"}, describe(channel.clip)
        if request.method == "SETUP":
            return self._set_up(request, channel, session)
        if self._transport is None:
            return 454, {}, ""
        return 200, {**session, "Range": "npt=now-", "RTP-Info": channel.rtp_info(request.url)}, ""

    def _set_up(
        self, request: Request, channel: RtspStream, session: dict[str, str]
    ) -> tuple[int, dict[str, str], str]:
        transport = parse_transport(request.headers.get("transport", ""))
        if transport is None:
            return 461, {}, ""
        self.leave()
        self._transport, self._channel = transport, channel
        if transport.udp_ports:
            theirs = "-".join(map(str, transport.udp_ports))
            ours = "-".join(map(str, self._server.udp_ports()))
            chosen = f"RTP/AVP;unicast;client_port={theirs};server_port={ours}"
        else:
            chosen = f"RTP/AVP/TCP;unicast;interleaved={transport.channel}-{transport.channel + 1}"
        return 200, {**session, "Transport": f"{chosen};ssrc={channel.ssrc:08X}"}, ""


@contextlib.contextmanager
def running(server: RtspServer) -> Iterator[RtspServer]:
    """The server in a thread of its own, for as long as the block runs.

    Raises:
        StartError: it cannot start.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="rtsp", daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(server.start(), loop).result(START_TIMEOUT_S)
        try:
            yield server
        finally:
            asyncio.run_coroutine_threadsafe(server.close(), loop).result(START_TIMEOUT_S)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(START_TIMEOUT_S)
        loop.close()
