"""Joined heads give what the file's own twelve give."""

import numpy as np
import openvino as ov
from facestream.common.core.paths import FACE_DETECTOR_FILE
from facestream.common.vision.yunet import STRIDES, compiled_yunet


def test_joined_heads_give_what_the_files_own_heads_give() -> None:
    width, height = 96, 64
    picture = np.random.default_rng(3).integers(0, 255, (1, height, width, 3)).astype(np.float32)
    own = ov.Core().read_model(FACE_DETECTOR_FILE)
    own.reshape([1, 3, height, width])
    f32 = {"INFERENCE_PRECISION_HINT": "f32"}
    answers = ov.Core().compile_model(own, "CPU", f32)(picture.transpose(0, 3, 1, 2))

    joined = compiled_yunet(FACE_DETECTOR_FILE, width, height, "f32")(picture)

    def column(kind: str) -> np.ndarray:
        return np.concatenate([answers[f"{kind}_{stride}"][0] for stride in STRIDES])

    scores = np.hstack([column("cls"), column("obj")])
    places = np.hstack([column("bbox"), column("kps")])
    np.testing.assert_allclose(joined[0][0], scores, atol=1e-5)
    np.testing.assert_allclose(joined[1][0], places, atol=1e-4)
