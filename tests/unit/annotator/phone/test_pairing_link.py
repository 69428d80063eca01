"""The pairing link of a phone, and its QR code."""

from __future__ import annotations

import re

import cv2
import numpy as np
import pytest
from facestream.annotator.phone.pairing_link import pairing_link, qr_svg

KEY = "k" * 32


@pytest.mark.parametrize(
    ("opened_at", "phone_base_url", "base", "noted"),
    [
        ("https://192.168.1.7:8080", "", "https://192.168.1.7:8080", ""),
        ("https://faces.example.org", "https://10.0.0.1:1", "https://faces.example.org", ""),
        ("https://localhost:8080", "https://192.168.1.7:8080", "https://192.168.1.7:8080", ""),
        ("https://[::1]:8080", "https://192.168.1.7:8080/", "https://192.168.1.7:8080", ""),
        ("https://127.0.0.1:8080", "", "https://127.0.0.1:8080", "Only this computer"),
        ("http://localhost:8080", "", "http://localhost:8080", "Only this computer"),
        (
            "http://192.168.1.7:8080",
            "",
            "http://192.168.1.7:8080",
            "Phone cameras need HTTPS",
        ),
    ],
)
def test_link_uses_a_reachable_origin_or_has_a_note(
    opened_at: str, phone_base_url: str, base: str, noted: str
) -> None:
    link, note = pairing_link(opened_at, phone_base_url, KEY)
    assert link == f"{base}/phone#{KEY}"
    assert noted in note
    assert bool(noted) == bool(note)


@pytest.mark.parametrize("host", ["192.168.1.7", "[fd00::17:1]", "a-long-name-of-a-host.local"])
def test_qr_code_contains_the_link(host: str) -> None:
    link = f"https://{host}:8080/phone#{KEY}"
    svg = qr_svg(link)
    side = int(re.findall(r'viewBox="0 0 (\d+) ', svg)[0])
    modules = np.full((side, side), 255, np.uint8)
    for x, y in re.findall(r"M(\d+) (\d+)h1v1h-1z", svg):
        modules[int(y), int(x)] = 0
    assert modules[:4].min() == modules[:, -4:].min() == 255  # the quiet zone
    image = cv2.resize(modules, None, fx=6, fy=6, interpolation=cv2.INTER_NEAREST)
    assert cv2.QRCodeDetector().detectAndDecode(image)[0] == link
