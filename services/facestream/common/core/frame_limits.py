"""Limits and types of a frame that cameras, messages and files share. No dependencies."""

from __future__ import annotations

from typing import Literal

Rotation = Literal[0, 90, 180, 270]  # degrees clockwise
MAX_SIDE_PX = 8192
MAX_PIXEL_ASPECT = 4.0  # and its inverse; beyond, a stated aspect is an error
