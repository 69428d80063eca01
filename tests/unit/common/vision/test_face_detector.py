"""Face detector: one-line errors about the model file, and merging of detections."""

from pathlib import Path

import numpy as np
import pytest
from facestream.common.core.errors import ModelError
from facestream.common.vision.face_detector import Detections, FaceDetector
from facestream.common.vision.openvino_runtime import ov


def _load_error(model: Path) -> str:
    with pytest.raises(ModelError) as caught:
        FaceDetector(64, 64, model_path=model)
    text = str(caught.value)
    assert str(model) in text
    assert "\n" not in text
    return text


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    assert "not found" in _load_error(tmp_path / "faces.onnx")


def test_a_damaged_model_is_named(tmp_path: Path) -> None:
    model = tmp_path / "faces.onnx"
    model.write_bytes(b"no model")
    assert "damaged" in _load_error(model)


def test_a_model_other_than_yunet_is_rejected(tmp_path: Path) -> None:
    faces = ov.opset13.parameter([1, 3, 64, 64], ov.Type.f32)
    ov.save_model(ov.Model([ov.opset13.relu(faces)], [faces], "other"), tmp_path / "other.xml")
    assert "not YuNet" in _load_error(tmp_path / "other.xml")


def test_of_overlapping_faces_the_one_with_the_higher_score_remains() -> None:
    def face(x: float, score: float) -> Detections:
        box = np.array([[x, 0, 10, 10]], np.float32)
        return Detections(box, np.full((1, 5, 2), x, np.float32), np.array([score], np.float32))

    merged = face(0, 0.7).merge_nms(face(1, 0.9), 0.3).merge_nms(face(30, 0.8), 0.3)
    assert merged.boxes[:, 0].tolist() == [1, 30]
    assert merged.landmarks[:, 0, 0].tolist() == [1, 30]
    assert merged.scores.tolist() == pytest.approx([0.9, 0.8])
    empty = merged.filter(np.zeros(2, bool))
    assert len(empty.merge_nms(empty, 0.3)) == 0
