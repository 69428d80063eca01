"""Write annotated copies of images, drawn as the live view draws frames.

A copy keeps its file name and its place below the folder that all originals share. Images with the
same name in two folders therefore never overwrite each other.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from facestream.common.vision.displayed_estimate import DisplayedEstimate, DisplayThresholds
from facestream.common.vision.overlay import bgr_to_yuv_image, build_label, draw_labels
from facestream.common.vision.yuv_image import encode_jpeg
from facestream.predict.input_files import InputImage
from facestream.predict.predictor import FacePrediction

_JPEG_QUALITY = 92


def common_parent(files: Sequence[Path]) -> Path:
    """Return the innermost folder that holds all the files."""
    return Path(os.path.commonpath([os.path.abspath(file.parent) for file in files]))


def copy_path(output_dir: Path, parent: Path, source: InputImage) -> Path:
    """Return the path of a copy: `a/x.jpg`, `a/x.png.jpg` or `a/clip.mp4_1.500s.jpg`.

    Args:
        output_dir: folder of the copies.
        parent: folder that all originals share.
        source: the original image or video frame.
    """
    below = Path(os.path.abspath(source.path)).relative_to(parent)
    time = source.name.rpartition("@")[2] if source.name != str(source.path) else ""
    name = below.name + (f"_{time}" if time else "")
    return output_dir / below.with_name(name if name.endswith(".jpg") else f"{name}.jpg")


def video_copy_path(output_dir: Path, parent: Path, video: Path) -> Path:
    """Return the path of the copy of a video: `a/clip.mp4` or `a/clip.mov.mp4`."""
    below = Path(os.path.abspath(video)).relative_to(parent)
    name = "stdin" if str(video) == "-" else below.name
    return output_dir / below.with_name(name if name.endswith(".mp4") else f"{name}.mp4")


def write_annotated(target: Path, source: InputImage, faces: Sequence[FacePrediction]) -> None:
    """Write the image with its faces marked to `target`, as JPEG.

    Raises:
        OSError: the file cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    image = source.image
    if 1 in image.shape[:2]:  # chroma is stored per block of two by two pixels
        lower, right = (side == 1 for side in image.shape[:2])
        image = np.pad(image, ((0, lower), (0, right), (0, 0)), "edge")
    height, width = (side // 2 * 2 for side in image.shape[:2])
    planes = bgr_to_yuv_image(image[:height, :width])
    draw_labels(
        planes,
        [
            build_label(
                face.box,
                DisplayedEstimate(
                    face.age, face.age_low, face.age_high, _displayed_gender(face.female)
                ),
            )
            for face in faces
        ],
    )
    target.write_bytes(encode_jpeg(planes, _JPEG_QUALITY))


def _displayed_gender(female: float | None) -> float | None:
    """Return the probability if the live view would show a gender for it, else None."""
    if female is None or max(female, 1 - female) < DisplayThresholds().min_gender_probability:
        return None
    return female
