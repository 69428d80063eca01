"""Contact sheet of training crops: each face unaugmented, then in nine augmented views.

View it before a long run: it shows wrong crops, colors and labels.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data.augmentation import augment, center_view
from training.data.face_crops import FaceSet
from training.data.utkface import GENDERS

_ROWS, _VIEWS = 8, 9
_LABEL_PX = 18


def contact_sheet(faces: FaceSet, size_px: int, seed: int) -> NDArray[np.uint8]:
    """Return an RGB uint8 image with one row per face and its label below.

    The unaugmented crop comes first in each row.
    """
    rows = []
    for i in np.linspace(0, len(faces) - 1, min(_ROWS, len(faces))).astype(int):
        crop = faces.crops[i]
        views = [
            augment(crop, size_px, np.random.default_rng([seed, view, int(i)]))
            for view in range(_VIEWS)
        ]
        row = np.hstack([center_view(crop, size_px), *views])
        label = np.full((_LABEL_PX, row.shape[1], 3), 255, np.uint8)
        text = f"{faces.age[i]:.0f} years, {GENDERS[int(faces.female[i])]}"
        cv2.putText(label, text, (4, _LABEL_PX - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1)
        rows += [row, label]
    return np.vstack(rows)


def save_contact_sheet(faces: FaceSet, size_px: int, seed: int, path: Path) -> None:
    """Write the contact sheet in the image format of the suffix of `path`."""
    sheet = contact_sheet(faces, size_px, seed)
    cv2.imwrite(str(path), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
