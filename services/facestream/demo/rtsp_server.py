"""Serve looped clips as live cameras over RTSP (RFC 2326), with RTP over TCP and UDP.

Every client of a path sees the same frame at the same time, as with a real camera. `rtp_stream`
sends the frames; this module handles connections and requests.
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

from facestream.common.core.errors import StartError
from facestream.demo.h264_packetizer import Clip
from facestream.demo.rtp_stream import (
    INTERLEAVED_MAGIC,
    MAX_UNSENT_BYTES,
    PlayingClient,
    RtspStream,
)
from facestream.demo.rtsp_protocol import (
    METHODS,
    Request,
    Transport,
    format_response,
    format_sdp,
    parse_basic_credentials,
    parse_request,
    parse_transport,
)

MAX_REQUEST_BYTES = 16 * 1024
IDLE_TIMEOUT_S = 65.0  # the announced session timeout of 60 s, with a margin
START_TIMEOUT_S = 5.0

log = logging.getLogger(__name__)


class RtspServer:
    """RTSP server of clips as live cameras at `rtsp://host:port/<path>`.

    Args:
        clips: path (without slashes around it) to clip. Paths start at different positions.
        host: address to listen on.
        port: port to listen on; 0 = any free, which `port` holds after `start`.
        credentials: user and password that clients must send (Basic), or None.
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
        self._streams = {
            path: RtspStream(clip, clip.duration_ticks * i // len(clips))
            for i, (path, clip) in enumerate(clips.items())
        }
        self._tasks: list[asyncio.Task[None]] = []
        self._connections: set[asyncio.Task[None]] = set()
        self._udp: list[asyncio.DatagramTransport] = []

    async def start(self) -> None:
        """Listen and start to play.

        Raises:
            StartError: the port is taken or the address is not one of this machine.
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
            asyncio.create_task(stream.play(self._udp[0])) for stream in self._streams.values()
        ]

    async def close(self) -> None:
        """Disconnect every client and stop."""
        self._server.close()
        for task in [*self._tasks, *self._connections]:
            task.cancel()
        await asyncio.gather(*self._tasks, *self._connections, return_exceptions=True)
        for transport in self._udp:
            transport.close()

    async def _serve_client(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)
        connection = _Connection(self, writer)
        try:
            await connection.handle_requests(reader)
        except (
            OSError,
            ValueError,
            asyncio.IncompleteReadError,
            asyncio.LimitOverrunError,
        ) as error:
            log.debug("client disconnected: %s", error)
        except asyncio.CancelledError:
            pass  # the server is closing
        finally:
            connection.stop_playing()
            writer.transport.abort()

    def stream(self, path: str) -> RtspStream | None:
        """Return the stream of a path."""
        return self._streams.get(path)

    def udp_ports(self) -> tuple[int, int]:
        """Return the source ports of RTP and RTCP."""
        rtp, rtcp = (transport.get_extra_info("sockname")[1] for transport in self._udp)
        return rtp, rtcp

    def is_authorized(self, request: Request) -> bool:
        """Whether the request has the right user and password."""
        if self._credentials is None:
            return True
        sent = parse_basic_credentials(request.headers.get("authorization", ""))
        return sent is not None and all(
            hmac.compare_digest(a.encode(), b.encode())
            for a, b in zip(sent, self._credentials, strict=True)
        )


class _Connection:
    """One TCP connection: its requests and the stream that it plays."""

    def __init__(self, server: RtspServer, writer: asyncio.StreamWriter) -> None:
        self._server, self._writer = server, writer
        self._session = secrets.token_hex(8)
        self._transport: Transport | None = None
        self._stream: RtspStream | None = None
        self._client: PlayingClient | None = None

    async def handle_requests(self, reader: asyncio.StreamReader) -> None:
        """Respond to requests until the client tears down, disconnects or times out."""
        while True:
            # Over UDP a client must send keep-alives; over TCP it need not while it plays.
            over_tcp = self._client is not None and self._client.transport.udp_ports is None
            async with asyncio.timeout(None if over_tcp else IDLE_TIMEOUT_S):
                first = await reader.readexactly(1)
                if first == INTERLEAVED_MAGIC:  # RTCP of the client
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
            status, headers, body = self._respond(request)
            self._writer.write(format_response(status, request, headers, body))
            if self._writer.transport.get_write_buffer_size() > 2 * MAX_UNSENT_BYTES:
                return  # the client sends requests and reads no response
            if request.method == "PLAY" and status == 200:
                self._start_playing()
            if request.method == "TEARDOWN":
                await self._writer.drain()
                return

    def stop_playing(self) -> None:
        """Stop sending to this client."""
        if self._stream is not None and self._client is not None:
            self._stream.clients.discard(self._client)
            if self._client.lost_frames:
                log.debug("client lost %d frames", self._client.lost_frames)
        self._client = None

    def _start_playing(self) -> None:
        if self._stream is not None and self._transport is not None and self._client is None:
            host = self._writer.get_extra_info("peername")[0]
            self._client = PlayingClient(self._writer, self._transport, host)
            self._stream.clients.add(self._client)

    def _respond(self, request: Request) -> tuple[int, dict[str, str], str]:
        if request.method == "OPTIONS":
            return 200, {"Public": METHODS}, ""
        if not self._server.is_authorized(request):
            return 401, {"WWW-Authenticate": 'Basic realm="facestream"'}, ""
        session = {"Session": f"{self._session};timeout=60"}
        if request.method in ("GET_PARAMETER", "SET_PARAMETER", "TEARDOWN"):
            return 200, session, ""
        if request.method not in ("DESCRIBE", "SETUP", "PLAY"):
            return 501, {"Public": METHODS}, ""
        stream = self._server.stream(request.path)
        if stream is None:
            return 404, {}, ""
        if request.method == "DESCRIBE":
            return 200, {"Content-Base": request.url.rstrip("/") + "/"}, format_sdp(stream.clip)
        if request.method == "SETUP":
            return self._set_up(request, stream, session)
        if self._transport is None:
            return 454, {}, ""
        return (
            200,
            {**session, "Range": "npt=now-", "RTP-Info": stream.format_rtp_info(request.url)},
            "",
        )

    def _set_up(
        self, request: Request, stream: RtspStream, session: dict[str, str]
    ) -> tuple[int, dict[str, str], str]:
        transport = parse_transport(request.headers.get("transport", ""))
        if transport is None:
            return 461, {}, ""
        self.stop_playing()
        self._transport, self._stream = transport, stream
        if transport.udp_ports:
            client_ports = "-".join(map(str, transport.udp_ports))
            server_ports = "-".join(map(str, self._server.udp_ports()))
            negotiated = f"RTP/AVP;unicast;client_port={client_ports};server_port={server_ports}"
        else:
            negotiated = (
                f"RTP/AVP/TCP;unicast;interleaved={transport.channel}-{transport.channel + 1}"
            )
        return 200, {**session, "Transport": f"{negotiated};ssrc={stream.ssrc:08X}"}, ""


@contextlib.contextmanager
def running(server: RtspServer) -> Iterator[RtspServer]:
    """Run the server in its own thread during the block.

    Raises:
        StartError: the server cannot start.
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
