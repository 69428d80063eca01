"""Map FFmpeg errors on opening a camera to messages that name cause and remedy.

Messages never contain a password. FFmpeg reports few causes, and often a wrong one. For unclear
errors the host is therefore connected to once more: an unknown host name and a host that is off
then give different messages.
"""

from __future__ import annotations

import http.client
import socket
from urllib.parse import urlsplit

import av.error

from facestream.common.cameras.models import Camera
from facestream.common.security.redaction import redact

DEFAULT_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
GENERIC_IO_ERROR = "Input/output error"  # FFmpeg's text for any cause
SINGLE_IMAGE = "this is the address of a single image; enter the address of the video stream"
_WEB_PAGE = "this is a web page; enter the address of its video stream"
_DIAGNOSE_TIMEOUT_S = 2.0
_TIMEOUT_FRACTION = 0.9  # an attempt that took this part of its timeout counts as timed out


def describe_open_error(
    camera: Camera, address: str | None, error: Exception, elapsed_s: float, open_timeout_s: float
) -> str:
    """Return the reason in one line. May block for two seconds to diagnose the connection.

    Args:
        camera: that could not be opened.
        address: address of its host that was tried; None if it has none or was not resolved.
        error: raised by FFmpeg.
        elapsed_s: duration of the attempt.
        open_timeout_s: its time limit.
    """
    parts = urlsplit(camera.url.get_secret_value())
    if camera.is_local:
        return _describe_local_error(parts.path, error)
    port = parts.port or DEFAULT_PORTS[parts.scheme]
    endpoint = f"{parts.hostname}:{port}"
    rejection = _describe_rejection(camera, error)
    if rejection:
        return f"{endpoint}: {rejection}"
    unreachable = _describe_unreachable(address or str(parts.hostname), port)
    if unreachable:
        return f"{endpoint}: {unreachable}"
    content = _describe_content(camera, address) if parts.scheme in ("http", "https") else ""
    if content:
        return f"{endpoint}: {content}"
    # FFmpeg often reports its own timeout as invalid data.
    if elapsed_s >= open_timeout_s * _TIMEOUT_FRACTION or isinstance(
        error, av.error.ExitError | av.error.TimeoutError
    ):
        return (
            f"{endpoint}: connected, but no data for {open_timeout_s:g} s; "
            "check port and path of the URL"
        )
    if isinstance(error, av.error.InvalidDataError) or error_text(error) == GENERIC_IO_ERROR:
        return f"{endpoint}: not a video stream; check port and path of the URL"
    return f"{endpoint}: {error_text(error)}"


def _describe_rejection(camera: Camera, error: Exception) -> str:
    """Return why the server rejected the request; empty if it did not."""
    parts = urlsplit(camera.url.get_secret_value())
    match error:
        case av.error.HTTPUnauthorizedError():
            if parts.username:
                return "401 Unauthorized: wrong user or password"
            return "401 Unauthorized: add user and password to the URL"
        case av.error.HTTPForbiddenError():
            return "403 Forbidden: this user may not view the stream"
        case av.error.HTTPNotFoundError():
            return f"404 Not Found: no stream at {redact(parts.path) or '/'}; check the path"
        case av.error.HTTPError() | av.error.HTTPClientError() | av.error.HTTPServerError():
            return f"HTTP error: {error_text(error)}"
        case av.error.ConnectionRefusedError():
            return "connection refused; check the port, and that the camera's server is running"
    if error_text(error) == "Protocol not supported":
        other = "tcp" if camera.transport == "udp" else "udp"
        return f"transport {camera.transport} is not supported; try transport {other}"
    return ""


def _describe_unreachable(host: str, port: int) -> str:
    """Return why the host cannot be reached; empty if it can."""
    try:
        socket.create_connection((host, port), timeout=_DIAGNOSE_TIMEOUT_S).close()
    except socket.gaierror:
        return "no such host; check the name"
    except TimeoutError:
        return "no response; check that it is switched on and on this network"
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return ""


def _describe_content(camera: Camera, address: str | None) -> str:
    """Return what an HTTP URL serves instead of a video; empty if that is unclear.

    The request carries no password.
    """
    parts = urlsplit(camera.url.get_secret_value())
    host = address or str(parts.hostname)
    is_https = parts.scheme == "https"
    connect = http.client.HTTPSConnection if is_https else http.client.HTTPConnection
    connection = connect(host, parts.port, timeout=_DIAGNOSE_TIMEOUT_S)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.putrequest("GET", target, skip_host=True)
        connection.putheader("Host", parts.netloc.rpartition("@")[2])
        connection.endheaders()
        content_type = connection.getresponse().headers.get_content_type()
    except (OSError, ValueError, http.client.HTTPException):
        return ""
    finally:
        connection.close()
    if content_type in ("text/html", "application/xhtml+xml"):
        return _WEB_PAGE
    return SINGLE_IMAGE if content_type.startswith("image/") else ""


def _describe_local_error(path: str, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{path} does not exist"
    if isinstance(error, PermissionError):
        return f"no permission to read {path}"
    if isinstance(error, av.error.InvalidDataError):
        return f"{path} is not a video"
    return f"{path}: {error_text(error)}"


def error_text(error: Exception) -> str:
    """Return the text of an error in one line, redacted."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return redact(" ".join(str(text).split()))
