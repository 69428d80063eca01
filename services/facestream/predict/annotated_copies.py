"""Annotated copies of pictures, drawn as the live picture is.

A copy has the place below the output folder, and the name, that its original has below the folder
that all originals share, so that pictures of one name in two folders do not meet in one copy.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from facestream.common.vision.displayed_estimate import DisplayedEstimate, DisplayThresholds
from facestream.common.vision.overlay import build_label, draw, to_planes
from facestream.common.vision.yuv_image import encode
from facestream.predict.input_files import Input
from facestream.predict.predictor import FacePrediction

_QUALITY = 92


def common_parent(files: Sequence[Path]) -> Path:
    """The innermost folder that holds all the files."""
    return Path(os.path.commonpath([os.path.abspath(file.parent) for file in files]))


def copy_path(folder: Path, shared: Path, given: Input) -> Path:
    """Where the copy goes: `a/x.jpg`, `a/x.png.jpg`, `a/clip.mp4_1.500s.jpg` in `folder`."""
    below = Path(os.path.abspath(given.path)).relative_to(shared)
    time = given.name.rpartition("@")[2] if given.name != str(given.path) else ""
    name = below.name + (f"_{time}" if time else "")
    return folder / below.with_name(name if name.endswith(".jpg") else f"{name}.jpg")


def write_annotated(target: Path, given: Input, faces: Sequence[FacePrediction]) -> None:
    """Write the picture with its faces marked to `target`, as JPEG.

    Raises:
        OSError: it cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    picture = given.picture
    if 1 in picture.shape[:2]:  # colours come in blocks of two by two
        lower, right = (side == 1 for side in picture.shape[:2])
        picture = np.pad(picture, ((0, lower), (0, right), (0, 0)), "edge")
    height, width = (side // 2 * 2 for side in picture.shape[:2])
    planes = to_planes(picture[:height, :width])
    draw(
        planes,
        [
            build_label(
                face.box,
                DisplayedEstimate(face.age, face.age_low, face.age_high, _sure(face.female)),
            )
            for face in faces
        ],
    )
    target.write_bytes(encode(planes, _QUALITY))


def _sure(female: float | None) -> float | None:
    """The probability where the live picture would show a gender too."""
    if female is None or max(female, 1 - female) < DisplayThresholds().min_gender_probability:
        return None
    return female
