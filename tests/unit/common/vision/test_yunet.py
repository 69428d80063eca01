"""YuNet with joined heads: the same outputs as the original model."""

import numpy as np
from facestream.common.core.paths import FACE_DETECTOR_FILE
from facestream.common.vision.openvino_runtime import ov
from facestream.common.vision.yunet import STRIDES, compile_yunet


def test_joined_heads_have_the_same_outputs_as_the_original_heads() -> None:
    width, height = 96, 64
    image = np.random.default_rng(3).integers(0, 255, (1, height, width, 3)).astype(np.float32)
    original = ov.Core().read_model(FACE_DETECTOR_FILE)
    original.reshape([1, 3, height, width])
    f32 = {"INFERENCE_PRECISION_HINT": "f32"}
    outputs = ov.Core().compile_model(original, "CPU", f32)(image.transpose(0, 3, 1, 2))

    joined = compile_yunet(FACE_DETECTOR_FILE, width, height, "f32")(image)

    def column(kind: str) -> np.ndarray:
        return np.concatenate([outputs[f"{kind}_{stride}"][0] for stride in STRIDES])

    scores = np.hstack([column("cls"), column("obj")])
    offsets = np.hstack([column("bbox"), column("kps")])
    np.testing.assert_allclose(joined[0][0], scores, atol=1e-5)
    np.testing.assert_allclose(joined[1][0], offsets, atol=1e-4)
