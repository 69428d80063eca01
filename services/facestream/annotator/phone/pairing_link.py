"""The link that makes a phone a camera, as text and as a QR code. Pure."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

import cv2
import numpy as np

PAGE_PATH = "/phone"
PICTURE_PATH = "/api/phone/picture"
_QUIET_MODULES = 4  # ISO/IEC 18004: light modules around the code
# static/https-hint.js has the same text.
_RESTART_HINT = (
    "Stop facestream (Ctrl-C), start it with “make demo PHONE=1” "
    "(or “facestream up --host 0.0.0.0 --https”) and open the link it prints."
)
_ONLY_HERE = f"Only this computer can open this link. For a phone: {_RESTART_HINT}"
_NO_CAMERA = f"Phone cameras need HTTPS. {_RESTART_HINT}"


def phone_link(opened_at: str, phone_base_url: str, key: str) -> tuple[str, str]:
    """The link of a phone, and what is wrong with it for a user; empty where nothing is.

    Args:
        opened_at: origin of the page on which the link is shown, `https://host:8080`.
        phone_base_url: the same for phones, where the page was opened by a name for this machine alone;
            empty where it is not known.
        key: of the phone. It stands behind `#`: that is sent to no server and stands in no log.
    """
    base = opened_at
    if _is_loopback(base) and phone_base_url:
        base = phone_base_url.rstrip("/")
    note = ""
    if _is_loopback(base):
        note = _ONLY_HERE
    elif not base.startswith("https:"):
        note = _NO_CAMERA
    return f"{base}{PAGE_PATH}#{key}", note


def qr_svg(text: str) -> str:
    """A text as a QR code: an SVG picture, dark on light, error correction M."""
    parameters = cv2.QRCodeEncoder.Params()
    parameters.mode = cv2.QRCodeEncoder_MODE_BYTE
    parameters.correction_level = cv2.QRCodeEncoder_CORRECT_LEVEL_M
    dark = cv2.QRCodeEncoder.create(parameters).encode(text) == 0
    rows, columns = np.flatnonzero(dark.any(1)), np.flatnonzero(dark.any(0))
    dark = dark[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    side = len(dark) + 2 * _QUIET_MODULES
    path = "".join(
        f"M{x + _QUIET_MODULES} {y + _QUIET_MODULES}h1v1h-1z" for y, x in np.argwhere(dark)
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
