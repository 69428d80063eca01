"""Probe the liveness and readiness of the processes that the launcher runs."""

from __future__ import annotations

import http.client
import json
import socket
import urllib.error
from dataclasses import dataclass
from pathlib import Path

from facestream.launcher import embedded_broker, local_http

PROBE_TIMEOUT_S = 2.0
_LOOPBACK = "127.0.0.1"
# IncompleteRead and similar errors, of a server that dies during a response, are not OSErrors.
_PROBE_ERRORS = (OSError, http.client.HTTPException, ValueError)


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """Result of a probe: liveness, and the missing dependencies (empty if ready)."""

    alive: bool
    missing: str = ""

    @property
    def ready(self) -> bool:
        """Whether the process is alive and nothing is missing."""
        return self.alive and not self.missing


def probe_broker(folder: Path) -> ProbeResult:
    """Probe the embedded broker whose socket is in the folder."""
    missing = embedded_broker.ping(folder)
    return ProbeResult(not missing, missing)


def probe_rtsp(port: int) -> ProbeResult:
    """Probe an RTSP server on the loopback address."""
    try:
        with socket.create_connection((_LOOPBACK, port), PROBE_TIMEOUT_S) as connection:
            connection.settimeout(PROBE_TIMEOUT_S)
            connection.sendall(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n")
            alive = connection.recv(64).startswith(b"RTSP/1.0 200")
            return ProbeResult(alive, "" if alive else "unexpected RTSP response")
    except OSError as error:
        return ProbeResult(False, error.strerror or str(error))


def probe_health(base_url: str) -> ProbeResult:
    """Probe `/readyz` and `/livez` of a service."""
    missing = ""
    try:
        try:
            _get(f"{base_url}/readyz")
        except urllib.error.HTTPError as error:
            with error:
                missing = _format_missing(error.read())
            _get(f"{base_url}/livez")
    except _PROBE_ERRORS as error:
        return ProbeResult(False, missing or str(getattr(error, "reason", error)) or "no response")
    return ProbeResult(True, missing)


def _format_missing(body: bytes) -> str:
    try:
        missing = json.loads(body)["missing"]
        return (
            "; ".join(f"{dependency}: {reason}" for dependency, reason in missing.items())
            or "not ready"
        )
    except (ValueError, KeyError, AttributeError, TypeError):
        return "not ready"


def _get(url: str) -> bytes:
    with local_http.get(url, PROBE_TIMEOUT_S) as response:
        return response.read()
