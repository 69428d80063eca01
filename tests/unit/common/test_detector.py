"""The detector's model file: what is wrong with it is said in one line."""

from pathlib import Path

import openvino as ov
import pytest

from services.common.detector import FaceDetector
from services.common.errors import ModelError


def _why_not(model: Path) -> str:
    with pytest.raises(ModelError) as caught:
        FaceDetector(64, 64, model_path=model)
    text = str(caught.value)
    assert str(model) in text
    assert "\n" not in text
    return text


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    assert "no such file" in _why_not(tmp_path / "faces.onnx")


def test_a_damaged_model_is_named(tmp_path: Path) -> None:
    model = tmp_path / "faces.onnx"
    model.write_bytes(b"no model")
    assert "damaged" in _why_not(model)


def test_another_model_is_told_from_yunet(tmp_path: Path) -> None:
    faces = ov.opset13.parameter([1, 3, 64, 64], ov.Type.f32)
    ov.save_model(ov.Model([ov.opset13.relu(faces)], [faces], "other"), tmp_path / "other.xml")
    assert "not YuNet" in _why_not(tmp_path / "other.xml")
