from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from facestream.common.core.errors import DataError

from training.data.utkface import LabeledImage
from training.distillation.teacher_targets import TeacherTargets, read, save


def _images(count: int) -> list[LabeledImage]:
    return [LabeledImage(f"{i}.jpg", f"{i:032x}", 20, 0, 0, b"") for i in range(count)]


def _targets(count: int) -> TeacherTargets:
    random = np.random.default_rng(0)
    age = random.dirichlet(np.ones(111), count).astype(np.float32)
    return TeacherTargets(age, age[:, 0], random.normal(size=(count, 4)).astype(np.float32))


def test_targets_are_read_back_by_the_digest_of_the_image(tmp_path: Path) -> None:
    images, targets = _images(5), _targets(5)
    save(tmp_path / "new" / "teacher.npz", targets, images)
    again = read(tmp_path / "new" / "teacher.npz", [images[3], images[1]], {0})
    np.testing.assert_allclose(again.age, targets.age[[3, 1]], atol=1e-3)
    np.testing.assert_array_equal(again.female, targets.female[[3, 1]])
    np.testing.assert_allclose(again.embedding, targets.embedding[[3, 1]], atol=1e-2)


def test_missing_images_are_counted_and_rejected(tmp_path: Path) -> None:
    path = tmp_path / "teacher.npz"
    save(path, _targets(3), _images(3))
    with pytest.raises(DataError, match="lacks 2 of the images"):
        read(path, _images(5), {0})


def test_targets_of_other_folds_are_rejected(tmp_path: Path) -> None:
    path = tmp_path / "teacher.npz"
    held_out = LabeledImage("9.jpg", f"{9:08x}{0:024x}", 20, 0, 0, b"")
    assert held_out.fold == 9
    save(path, _targets(4), [*_images(3), held_out])
    with pytest.raises(DataError, match="includes fold 9"):
        read(path, _images(3), range(9))


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut short"])
def test_a_foreign_file_is_rejected(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "teacher.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match="no teacher targets"):
        read(path, [], {0})
