from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from services.common.alignment import TEMPLATE
from services.common.errors import DataError
from training import teacher as teachers
from training.dataset import Picture
from training.faces import STORE_MARGIN, STORE_PX, FaceSet
from training.teacher import Teacher, ask, cross_fitted, read, save


class _Model:
    """Answers by the side on which a crop is lighter: a mirror image turns the answer round."""

    path = Path("models/age_gender/1")
    size_px = 64

    def answer(self, crops: np.ndarray) -> dict[str, np.ndarray]:
        left, right = crops[:, :, :32].mean((1, 2, 3)), crops[:, :, 32:].mean((1, 2, 3))
        share = np.float32(left > right)
        return {
            "age_distribution": np.stack([share, 1 - share], axis=1),
            "gender": np.where(left > right, 0.9, 0.3).astype(np.float32),
        }


def _faces(count: int) -> FaceSet:
    crops = np.zeros((count, STORE_PX, STORE_PX, 3), np.uint8)
    crops[:, :, : STORE_PX // 2] = 200
    labels = np.arange(count, dtype=np.float32) % 2
    return FaceSet(crops, labels * 40, labels, labels.astype(np.int8), labels > 0)


def _pictures(count: int) -> list[Picture]:
    return [Picture(f"{i}.jpg", f"{i:032x}", 20, 0, 0, b"") for i in range(count)]


def _word(count: int) -> Teacher:
    random = np.random.default_rng(0)
    age = random.dirichlet(np.ones(111), count).astype(np.float32)
    return Teacher(age, age[:, 0], random.normal(size=(count, 4)).astype(np.float32))


def test_a_face_and_its_mirror_image_count_alike() -> None:
    faces = _faces(6)
    seen = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    word = ask(_Model(), lambda crops: seen, faces)  # type: ignore[arg-type]
    np.testing.assert_allclose(word.age, 0.5)
    logit = 2 * np.log(word.female / (1 - word.female)) - cross_fitted(word.embedding, faces.female)
    np.testing.assert_allclose(1 / (1 + np.exp(-logit)), (0.9 + 0.3) / 2, rtol=1e-4)


def test_embeddings_are_centred_and_of_unit_size() -> None:
    random = np.random.default_rng(1)
    seen = random.normal(5, 3, (40, 8)).astype(np.float32)
    word = ask(_Model(), lambda crops: seen, _faces(40))  # type: ignore[arg-type]
    np.testing.assert_allclose(word.embedding.mean(axis=0), 0, atol=1e-5)
    assert np.square(word.embedding).sum(axis=1).mean() == pytest.approx(1, rel=1e-5)


def test_gender_is_read_from_embeddings_of_faces_that_did_not_teach() -> None:
    random = np.random.default_rng(2)
    female = (random.random(400) < 0.5).astype(np.float32)
    embedding = random.normal(0, 0.25, (400, 16)).astype(np.float32)
    assert np.mean((cross_fitted(embedding, female) > 0) == (female > 0.5)) < 0.6  # nothing to see
    embedding[:, 3] += female - np.float32(0.5)
    assert np.mean((cross_fitted(embedding, female) > 0) == (female > 0.5)) > 0.9


def test_what_was_said_is_found_again_by_the_pictures_bytes(tmp_path: Path) -> None:
    pictures, word = _pictures(5), _word(5)
    save(tmp_path / "new" / "teacher.npz", word, pictures)
    again = read(tmp_path / "new" / "teacher.npz", [pictures[3], pictures[1]])
    np.testing.assert_allclose(again.age, word.age[[3, 1]], atol=1e-3)
    np.testing.assert_array_equal(again.female, word.female[[3, 1]])
    np.testing.assert_allclose(again.embedding, word.embedding[[3, 1]], atol=1e-2)


def test_pictures_it_was_not_asked_about_are_counted_and_refused(tmp_path: Path) -> None:
    path = tmp_path / "teacher.npz"
    save(path, _word(3), _pictures(3))
    with pytest.raises(DataError, match="no word on 2 of the pictures"):
        read(path, _pictures(5))


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut short"])
def test_a_foreign_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "teacher.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match="not a teacher's file"):
        read(path, [])


def test_the_eyes_of_a_stored_crop_lie_where_dlib_wants_them() -> None:
    eyes = (TEMPLATE[:2] + STORE_MARGIN) / (1 + 2 * STORE_MARGIN) * STORE_PX
    placed = np.c_[eyes, np.ones(2)] @ teachers._stored_to_chip().T
    np.testing.assert_allclose(placed, teachers._CHIP_EYES, atol=0.1)
