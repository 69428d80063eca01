"""Pairing link that makes a phone's browser a camera, as text and as a QR code. No I/O."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

import cv2
import numpy as np

PAGE_PATH = "/phone"
FRAME_PATH = "/api/phone/frame"
_QUIET_ZONE_MODULES = 4  # ISO/IEC 18004: light modules around the code
# static/https-hint.js has the same text.
_RESTART_HINT = (
    "Stop facestream (Ctrl-C), start it with “make demo PHONE=1” "
    "(or “facestream up --host 0.0.0.0 --https”) and open the link it prints."
)
_LOCAL_ONLY = f"Only this computer can open this link. For a phone: {_RESTART_HINT}"
_NEEDS_HTTPS = f"Phone cameras need HTTPS. {_RESTART_HINT}"


def pairing_link(origin: str, phone_base_url: str, key: str) -> tuple[str, str]:
    """Return the pairing link, and a note for the user if the link will not work.

    Args:
        origin: of the page that shows the link, `https://host:8080`.
        phone_base_url: origin under which phones find the web UI, used if `origin` is a loopback
            name; empty if unknown.
        key: of the phone. It follows `#`: a browser sends that to no server, so no log contains it.
    """
    base = origin
    if _is_loopback(base) and phone_base_url:
        base = phone_base_url.rstrip("/")
    note = ""
    if _is_loopback(base):
        note = _LOCAL_ONLY
    elif not base.startswith("https:"):
        note = _NEEDS_HTTPS
    return f"{base}{PAGE_PATH}#{key}", note


def qr_svg(text: str) -> str:
    """Return a text as a QR code in SVG, dark on light, error correction level M."""
    parameters = cv2.QRCodeEncoder.Params()
    parameters.mode = cv2.QRCodeEncoder_MODE_BYTE
    parameters.correction_level = cv2.QRCodeEncoder_CORRECT_LEVEL_M
    dark = cv2.QRCodeEncoder.create(parameters).encode(text) == 0
    rows, columns = np.flatnonzero(dark.any(1)), np.flatnonzero(dark.any(0))
    dark = dark[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    side = len(dark) + 2 * _QUIET_ZONE_MODULES
    path = "".join(
        f"M{x + _QUIET_ZONE_MODULES} {y + _QUIET_ZONE_MODULES}h1v1h-1z"
        for y, x in np.argwhere(dark)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {side} {side}" '
        f'shape-rendering="crispEdges"><path fill="#fff" d="M0 0h{side}v{side}H0z"/>'
        f'<path d="{path}"/></svg>'
    )


def _is_loopback(origin: str) -> bool:
    host = urlsplit(origin).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
