"""Parse RTSP requests and format responses and SDP (RFC 2326) for a server. No I/O."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from facestream.demo.h264_packetizer import CLOCK_HZ, Clip

PAYLOAD_TYPE = 96
TRACK = "trackID=0"
METHODS = "OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER, SET_PARAMETER, TEARDOWN"
REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    413: "Request Entity Too Large",
    454: "Session Not Found",
    461: "Unsupported Transport",
    501: "Not Implemented",
}


@dataclass(frozen=True, slots=True)
class Request:
    """One request; header names are in lower case."""

    method: str
    url: str
    headers: dict[str, str]

    @property
    def path(self) -> str:
        """Path of the camera: `demo` in `rtsp://host:8554/demo/trackID=0`."""
        path = unquote(urlsplit(self.url).path).strip("/")
        return path.removesuffix(TRACK).strip("/")


@dataclass(frozen=True, slots=True)
class Transport:
    """Transport that a SETUP negotiated: an interleaved channel, or the client's UDP ports."""

    channel: int = 0
    udp_ports: tuple[int, int] | None = None


def parse_request(text: str) -> Request:
    """Parse the head of a request.

    Raises:
        ValueError: the text is not an RTSP request.
    """
    first, _, rest = text.partition("\r\n")
    words = first.split()
    if len(words) != 3 or not words[2].startswith("RTSP/"):
        raise ValueError("not an RTSP request")
    urlsplit(words[1])  # raises on an invalid URL
    headers = {}
    for line in rest.split("\r\n"):
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip().lower()] = value.strip()
    return Request(words[0].upper(), words[1], headers)


def parse_transport(header: str) -> Transport | None:
    """Return the first offer that the server supports, or None."""
    for offer in header.split(","):
        if "multicast" in offer:
            continue
        if "RTP/AVP/TCP" in offer:
            match = re.search(r"interleaved=(\d{1,3})", offer)
            channel = int(match[1]) if match else 0
            if channel < 256:
                return Transport(channel=channel)
        elif match := re.search(r"client_port=(\d{1,5})(?:-(\d{1,5}))?", offer):
            first = int(match[1])
            second = int(match[2] or first + 1)
            if 0 < first < 65536 and 0 < second < 65536:
                return Transport(udp_ports=(first, second))
    return None


def format_response(
    status: int, request: Request | None, headers: dict[str, str], body: str
) -> bytes:
    """Return a response as bytes, with the CSeq of the request."""
    lines = [f"RTSP/1.0 {status} {REASONS[status]}"]
    if request is not None and "cseq" in request.headers:
        lines.append(f"CSeq: {request.headers['cseq']}")
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body:
        lines += ["Content-Type: application/sdp", f"Content-Length: {len(body.encode())}"]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


def format_sdp(clip: Clip) -> str:
    """Return the SDP of a clip (RFC 8866, with the H.264 parameters of RFC 6184 section 8.2.1)."""
    sets = ",".join(base64.b64encode(nal).decode() for nal in (clip.sps, clip.pps))
    fps = len(clip.units) * CLOCK_HZ / clip.duration_ticks
    return "\r\n".join(
        [
            "v=0",
            "o=- 0 0 IN IP4 127.0.0.1",
            "s=facestream demo camera",
            "c=IN IP4 0.0.0.0",
            "t=0 0",
            "a=control:*",
            "a=range:npt=now-",
            f"m=video 0 RTP/AVP {PAYLOAD_TYPE}",
            f"a=rtpmap:{PAYLOAD_TYPE} H264/{CLOCK_HZ}",
            f"a=fmtp:{PAYLOAD_TYPE} packetization-mode=1;profile-level-id={clip.sps[1:4].hex()};"
            f"sprop-parameter-sets={sets}",
            f"a=framerate:{fps:.3f}",
            f"a=control:{TRACK}",
            "",
        ]
    )


def parse_basic_credentials(header: str) -> tuple[str, str] | None:
    """Return user and password of an `Authorization: Basic …` header (RFC 7617), or None."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = (
            base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
        )
    except ValueError:  # not base64, or not text
        return None
    return (user, password) if colon else None
