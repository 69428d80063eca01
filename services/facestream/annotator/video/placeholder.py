"""The picture shown in place of a camera's own: since when it is down, and why.

A plain dark picture with a few lines of text, made about once a second while somebody looks.
"""

from __future__ import annotations

import time

import cv2
import numpy as np

from facestream.common.cameras.models import CameraState, CameraStatus
from facestream.common.vision.overlay import bgr_to_yuv_image
from facestream.common.vision.text_rendering import Bgr, put_text, text_box
from facestream.common.vision.yuv_image import encode_jpeg

DEFAULT_SIZE = (1280, 720)
_BACKGROUND_BGR = (40, 32, 26)
_TITLE_BGR = (255, 255, 255)
_TEXT_BGR = (205, 196, 188)
_DOT_BGR: dict[CameraState, Bgr] = {
    "connecting": (233, 180, 86),
    "live": (233, 180, 86),
    "stalled": (0, 159, 230),
    "failed": (60, 94, 213),
    "stopped": (150, 150, 150),
}
_WORDS: dict[CameraState, str] = {
    "connecting": "connecting",
    "live": "waiting for its picture",
    "stalled": "no picture",
    "failed": "not available",
    "stopped": "paused",
}
_QUALITY = 85


def describe_state(status: CameraStatus, now: float) -> str:
    """`no picture since 14:03:22 (1 min 5 s)`.

    Args:
        now: Unix time in seconds.
    """
    at = time.strftime("%H:%M:%S", time.localtime(status.since))
    return f"{_WORDS[status.state]} since {at} ({format_duration(now - status.since)})"


def format_duration(seconds: float) -> str:
    """`12 s`, `3 min 5 s`, `2 h 10 min`, `4 d 3 h`: two units at most."""
    whole = max(0, int(seconds))
    days, rest = divmod(whole, 86_400)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def render_placeholder(status: CameraStatus, now: float) -> bytes:
    """A JPEG of the camera's own size that says what is the matter with it."""
    width, height = (status.width, status.height) if status.width else DEFAULT_SIZE
    width, height = max(64, width // 2 * 2), max(48, height // 2 * 2)
    picture = np.empty((height, width, 3), np.uint8)
    picture[:] = _BACKGROUND_BGR
    title_px = max(12, round(min(width / 22, height / 10)))
    text_px = max(10, round(title_px * 0.62))
    margin = title_px
    x, y = margin + title_px, height // 2 - title_px
    centre = (margin + title_px // 3, y - title_px // 3)
    cv2.circle(picture, centre, title_px // 4, _DOT_BGR[status.state], -1, cv2.LINE_AA)
    put_text(picture, status.name, (x, y), _TITLE_BGR, title_px, 600)
    lines = [describe_state(status, now), *_wrapped(status.reason, width - x - margin, text_px)]
    for i, line in enumerate(lines):
        at = (x, y + title_px // 2 + (i + 1) * round(text_px * 1.5))
        put_text(picture, line, at, _TEXT_BGR, text_px, 400)
    return encode_jpeg(bgr_to_yuv_image(picture), _QUALITY)


def _wrapped(text: str, width: int, text_px: int) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_box(longer, text_px, 400)[2] <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines[:4]
