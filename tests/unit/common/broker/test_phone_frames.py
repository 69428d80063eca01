"""Uploads of phones: only baseline JPEGs with one scan are decoded."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import simplejpeg
from facestream.annotator.phone.routes import _check_jpeg
from facestream.capture.sources.phone_source import decode_phone_jpeg, new_jpeg_decoder
from facestream.common.broker.phone_frames import is_baseline_jpeg

IMAGE = np.random.default_rng(3).integers(0, 255, (48, 64, 3), np.uint8)


def encoded(*parameters: int) -> bytes:
    return bytes(cv2.imencode(".jpg", IMAGE, list(parameters))[1].tobytes())


@pytest.mark.parametrize(
    "jpeg",
    [
        simplejpeg.encode_jpeg(IMAGE, 80, "RGB", "420"),
        simplejpeg.encode_jpeg(IMAGE, 80, "RGB", "444"),
        encoded(cv2.IMWRITE_JPEG_OPTIMIZE, 1),
        encoded(cv2.IMWRITE_JPEG_RST_INTERVAL, 2),
        simplejpeg.encode_jpeg(np.ascontiguousarray(IMAGE[:, :, :1]), 80, "GRAY", "Gray"),
    ],
)
def test_baseline_jpegs_are_accepted(jpeg: bytes) -> None:
    assert is_baseline_jpeg(jpeg)
    assert _check_jpeg(jpeg) == ("", "")
    assert decode_phone_jpeg(new_jpeg_decoder(), jpeg) is not None


def test_progressive_and_multi_scan_jpegs_are_rejected_undecoded() -> None:
    progressive = encoded(cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    baseline = encoded()
    scan = baseline[baseline.index(b"\xff\xda") : -2]
    bomb = baseline[:-2] + scan * 3 + b"\xff\xd9"
    for jpeg in (progressive, bomb, baseline[:100], b"", b"\xff\xd8" * 50):
        assert not is_baseline_jpeg(jpeg)
        assert decode_phone_jpeg(new_jpeg_decoder(), jpeg) is None
        assert _check_jpeg(jpeg)[0] == "invalid"
    assert _check_jpeg(progressive)[1] == "not a baseline JPEG with one scan"
