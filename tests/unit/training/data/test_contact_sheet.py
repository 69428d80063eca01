"""Contact sheet of training crops."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.fixtures.utkface import write_utkface
from training.data.augmentation import center_view
from training.data.contact_sheet import contact_sheet
from training.data.face_crops import crop_faces
from training.data.utkface import load


def test_a_row_holds_the_plain_crop_first_and_the_seed_decides_the_rest(tmp_path: Path) -> None:
    faces = crop_faces(load(write_utkface(tmp_path / "data", 4))[0], tmp_path / "cache")
    sheet = contact_sheet(faces, 96, seed=1)
    np.testing.assert_array_equal(sheet[:96, :96], center_view(faces.crops[0], 96))
    np.testing.assert_array_equal(sheet, contact_sheet(faces, 96, seed=1))
    assert (sheet != contact_sheet(faces, 96, seed=2)).any()
