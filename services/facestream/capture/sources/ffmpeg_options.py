"""Build URL, format and options for FFmpeg to open a camera. No I/O.

Live cameras get FFmpeg's low-latency options: measured, the default options start 1.9 s late and
stay late. Options also bound the frame size, and keep a camera from making FFmpeg open anything
else.
"""

from __future__ import annotations

import sys
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from facestream.common.broker.keys import MAX_FRAME_PIXELS
from facestream.common.cameras.models import Camera

MAX_PIXELS = MAX_FRAME_PIXELS  # the decoder rejects a larger one before it allocates memory
BOUNDED = {"max_pixels": str(MAX_PIXELS)}

# The first keyframe describes the stream to the decoder. FFmpeg must not analyze the stream before:
# it would take a second, and with `nobuffer` even discard the first keyframe.
_NO_ANALYSIS = {"analyzeduration": "1", "fpsprobesize": "0"}
_RTSP_PROBE_BYTES = 32  # the format is known, and this is FFmpeg's minimum
_HTTP_PROBE_BYTES = 500_000
_UDP_REORDER_US = 100_000
_DEVICE_FORMATS = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}
# Formats that contain the video itself; none that names other locations to read from.
_STREAM_FORMATS = "mpjpeg,mjpeg,jpeg_pipe,mpegts,flv,mov,matroska,webm,h264,hevc"
# A camera must not make FFmpeg open anything else, such as a playlist that names local files.
_NETWORK_PROTOCOLS = "rtsp,rtsps,rtp,udp,tcp,tls,http,https,httpproxy,crypto"


def ffmpeg_open_args(
    camera: Camera, address: str | None, io_timeout_s: float
) -> tuple[str, str | None, dict[str, str]]:
    """Return URL, format (None to detect it) and options for FFmpeg.

    Args:
        camera: to open.
        address: address that replaces the host name, already checked; None to keep the name.
        io_timeout_s: time limit of FFmpeg for each network operation.
    """
    url = camera.url.get_secret_value()
    parts = urlsplit(url)
    if parts.scheme == "file":
        return unquote(parts.path), None, {}
    low_latency = {"flags": "low_delay"}
    if parts.scheme == "device":
        device_format = next(
            (name for prefix, name in _DEVICE_FORMATS.items() if sys.platform.startswith(prefix)),
            None,
        )
        return unquote(parts.path), device_format, low_latency
    options = low_latency | _NO_ANALYSIS | {"protocol_whitelist": _NETWORK_PROTOCOLS}
    if parts.scheme in ("rtsp", "rtsps"):
        options |= {
            "probesize": str(_RTSP_PROBE_BYTES),
            "rtsp_transport": camera.transport,
            "allowed_media_types": "video",
            "max_delay": str(_UDP_REORDER_US) if camera.transport == "udp" else "0",
            "timeout": str(int(io_timeout_s * 1e6)),
        }
    else:
        options |= {
            "probesize": str(_HTTP_PROBE_BYTES),
            "rw_timeout": str(int(io_timeout_s * 1e6)),
        }
    url = _with_escaped_password(url)
    if address is None:
        return url, None, options
    if parts.scheme in ("http", "https"):
        # SSRF protection: a redirect or a playlist must not lead to an address that the egress
        # policy has not checked.
        options |= {
            "max_redirects": "0",
            "format_whitelist": _STREAM_FORMATS,
            "headers": f"Host: {parts.netloc.rpartition('@')[2]}\r\n",
        }
    if parts.scheme == "https":
        options["verifyhost"] = str(parts.hostname)
    return _with_host(url, address), None, options


def _with_host(url: str, address: str) -> str:
    """Return the URL with its host replaced by an address."""
    parts = urlsplit(url)
    userinfo, at, _ = parts.netloc.rpartition("@")
    host = f"[{address}]" if ":" in address else address
    port = "" if parts.port is None else f":{parts.port}"
    return urlunsplit(parts._replace(netloc=f"{userinfo}{at}{host}{port}"))


def _with_escaped_password(url: str) -> str:
    """Return the URL with user and password percent-encoded, and its scheme in lower case."""
    parts = urlsplit(url)
    userinfo, at, host = parts.netloc.rpartition("@")
    if not at:
        return urlunsplit(parts)  # FFmpeg accepts a lower-case scheme only
    user, colon, password = userinfo.partition(":")
    escaped = quote(unquote(user), safe="") + colon + quote(unquote(password), safe="")
    return urlunsplit(parts._replace(netloc=f"{escaped}@{host}"))
