"""Annotated copies of pictures, drawn as the live picture is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from services.annotator.draw import draw, label, to_planes
from services.annotator.estimate import Shown
from services.annotator.picture import encode
from services.predict.inputs import Input
from services.predict.predictor import FacePrediction

_QUALITY = 92


def write_copy(folder: Path, given: Input, faces: Sequence[FacePrediction]) -> Path:
    """Write the picture with its faces marked to `folder`, as JPEG; returns the file.

    Raises:
        OSError: it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    height, width = (side // 2 * 2 for side in given.picture.shape[:2])
    planes = to_planes(given.picture[:height, :width])
    draw(
        planes,
        [
            label(face.box, Shown(face.age, face.age_low, face.age_high, face.female))
            for face in faces
        ],
    )
    time = given.name.rpartition("@")[2] if given.name != str(given.path) else ""
    target = folder / (given.path.stem + (f"_{time}" if time else "") + ".jpg")
    target.write_bytes(encode(planes, _QUALITY))
    return target
