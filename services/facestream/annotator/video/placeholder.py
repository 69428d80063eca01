"""Render the placeholder image of a camera without frames: state, start time and reason.

A dark image with a few lines of text, rendered about once per second while it is watched.
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
    "paused": (150, 150, 150),
}
_DESCRIPTIONS: dict[CameraState, str] = {
    "connecting": "connecting",
    "live": "waiting for a frame",
    "stalled": "no video",
    "failed": "unavailable",
    "paused": "paused",
}
_QUALITY = 85
_MAX_LINES = 4


def describe_state(status: CameraStatus, now: float) -> str:
    """Return a description such as `no video since 14:03:22 (1 min 5 s)`.

    Args:
        status: of the camera.
        now: Unix time in seconds.
    """
    since = time.strftime("%H:%M:%S", time.localtime(status.since))
    duration = format_duration(now - status.since)
    return f"{_DESCRIPTIONS[status.state]} since {since} ({duration})"


def format_duration(seconds: float) -> str:
    """Return a duration in at most two units: `12 s`, `3 min 5 s`, `2 h 10 min`, `4 d 3 h`."""
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
    """Return a JPEG of the camera's frame size that describes its status.

    Args:
        status: of the camera; without a frame size `DEFAULT_SIZE` is used.
        now: Unix time in seconds.
    """
    width, height = (status.width, status.height) if status.width else DEFAULT_SIZE
    width, height = max(64, width // 2 * 2), max(48, height // 2 * 2)
    image = np.empty((height, width, 3), np.uint8)
    image[:] = _BACKGROUND_BGR
    title_px = max(12, round(min(width / 22, height / 10)))
    text_px = max(10, round(title_px * 0.62))
    margin = title_px
    x, y = margin + title_px, height // 2 - title_px
    center = (margin + title_px // 3, y - title_px // 3)
    cv2.circle(image, center, title_px // 4, _DOT_BGR[status.state], -1, cv2.LINE_AA)
    put_text(image, status.name, (x, y), _TITLE_BGR, title_px, 600)
    lines = [describe_state(status, now), *_wrap(status.reason, width - x - margin, text_px)]
    for i, line in enumerate(lines):
        position = (x, y + title_px // 2 + (i + 1) * round(text_px * 1.5))
        put_text(image, line, position, _TEXT_BGR, text_px, 400)
    return encode_jpeg(bgr_to_yuv_image(image), _QUALITY)


def _wrap(text: str, width: int, text_px: int) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_box(longer, text_px, 400)[2] <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines[:_MAX_LINES]
