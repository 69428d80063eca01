from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from facestream.common.core.errors import DataError

from training.data.utkface import LabelledImage
from training.distillation.teacher_targets import Teacher, read, save


def _pictures(count: int) -> list[LabelledImage]:
    return [LabelledImage(f"{i}.jpg", f"{i:032x}", 20, 0, 0, b"") for i in range(count)]


def _word(count: int) -> Teacher:
    random = np.random.default_rng(0)
    age = random.dirichlet(np.ones(111), count).astype(np.float32)
    return Teacher(age, age[:, 0], random.normal(size=(count, 4)).astype(np.float32))


def test_what_was_said_is_found_again_by_the_pictures_bytes(tmp_path: Path) -> None:
    pictures, word = _pictures(5), _word(5)
    save(tmp_path / "new" / "teacher.npz", word, pictures)
    again = read(tmp_path / "new" / "teacher.npz", [pictures[3], pictures[1]], {0})
    np.testing.assert_allclose(again.age, word.age[[3, 1]], atol=1e-3)
    np.testing.assert_array_equal(again.female, word.female[[3, 1]])
    np.testing.assert_allclose(again.embedding, word.embedding[[3, 1]], atol=1e-2)


def test_pictures_it_was_not_asked_about_are_counted_and_refused(tmp_path: Path) -> None:
    path = tmp_path / "teacher.npz"
    save(path, _word(3), _pictures(3))
    with pytest.raises(DataError, match="no word on 2 of the pictures"):
        read(path, _pictures(5), {0})


def test_a_teacher_that_learnt_from_what_is_to_judge_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "teacher.npz"
    judging = LabelledImage("9.jpg", f"{9:08x}{0:024x}", 20, 0, 0, b"")
    assert judging.fold == 9
    save(path, _word(4), [*_pictures(3), judging])
    with pytest.raises(DataError, match="has learnt from fold 9 too"):
        read(path, _pictures(3), range(9))


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut short"])
def test_a_foreign_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "teacher.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match="not a teacher's file"):
        read(path, [], {0})
