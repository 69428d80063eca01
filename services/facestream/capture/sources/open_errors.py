"""Why a camera could not be opened, in words that its user understands; never a password.

FFmpeg's own words are few, and often others than the cause: where they are, the place that was
asked is tried once more, to tell a name that is not known from a host that is off.
"""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import av.error

from facestream.common.cameras.models import Camera
from facestream.common.security.redaction import redact

DEFAULT_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
GENERIC_IO_ERROR = "Input/output error"  # what FFmpeg says of anything
_DIAGNOSE_S = 2.0
_NEARLY = 0.9  # of the time for opening


def describe_open_error(
    camera: Camera, address: str | None, error: Exception, waited_s: float, open_timeout_s: float
) -> str:
    """The reason, in one line.

    Args:
        address: of its host that was asked; None where it has none, or was not looked up.
        error: FFmpeg's.
        waited_s, open_timeout_s: how long it took, and might have taken.
    """
    parts = urlsplit(camera.url.get_secret_value())
    if camera.is_local:
        return _why_not_opened_here(parts.path, error)
    port = parts.port or DEFAULT_PORTS[parts.scheme]
    place = f"{parts.hostname}:{port}"
    answer = _what_it_answered(camera, error)
    if answer:
        return f"{place} {answer}"
    unreachable = _why_unreachable(address or str(parts.hostname), port)
    if unreachable:
        return f"{place}: {unreachable}"
    # FFmpeg reports its own time-out as bad data, as often as not.
    if waited_s >= open_timeout_s * _NEARLY or isinstance(
        error, av.error.ExitError | av.error.TimeoutError
    ):
        return f"{place} accepts the connection but says nothing for {open_timeout_s:g} s"
    if isinstance(error, av.error.InvalidDataError) or error_text(error) == GENERIC_IO_ERROR:
        return f"what {place} sends is not a video: check port and path of the URL"
    return f"{place}: {error_text(error)}"


def _what_it_answered(camera: Camera, error: Exception) -> str:
    """The refusal that a server sent, in words; empty if it sent none."""
    parts = urlsplit(camera.url.get_secret_value())
    match error:
        case av.error.HTTPUnauthorizedError():
            given = "wrong user or password" if parts.username else "it wants a user and password"
            return f"refuses: {given}"
        case av.error.HTTPForbiddenError():
            return "refuses: not allowed for this user"
        case av.error.HTTPNotFoundError():
            return f"has nothing at {redact(parts.path) or '/'}: check the path of the URL"
        case av.error.HTTPError() | av.error.HTTPClientError() | av.error.HTTPServerError():
            return f"answers with an error: {error_text(error)}"
        case av.error.ConnectionRefusedError():
            return "refuses the connection: is the camera's server running?"
    if error_text(error) == "Protocol not supported":
        other = "tcp" if camera.transport == "udp" else "udp"
        return f"does not send over {camera.transport}: try transport {other}"
    return ""


def _why_unreachable(host: str, port: int) -> str:
    """Why the host cannot be reached; empty if it can."""
    try:
        socket.create_connection((host, port), timeout=_DIAGNOSE_S).close()
    except socket.gaierror:
        return "no such host: check the name"
    except TimeoutError:
        return "no answer: is it on, and on this network?"
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return ""


def _why_not_opened_here(path: str, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{path} does not exist"
    if isinstance(error, PermissionError):
        return f"{path} may not be read by this user"
    if isinstance(error, av.error.InvalidDataError):
        return f"{path} is not a video"
    return f"{path}: {error_text(error)}"


def error_text(error: Exception) -> str:
    """What an error says, in one line, redacted."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return redact(" ".join(str(text).split()))
