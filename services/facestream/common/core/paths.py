"""Locate the files that ship with the code: models, samples and the checkout.

A checkout has them in `models/` and `samples/` at its top. An installed package has copies in
`facestream/bundled/`, which the build makes.
"""

from __future__ import annotations

from pathlib import Path

PACKAGE_DIR = Path(__file__).resolve().parents[2]
SOURCE_ROOT = PACKAGE_DIR.parent  # the folder that Python imports the package from
CHECKOUT = SOURCE_ROOT.parent  # meaningful only where IS_INSTALLED is false
_BUNDLED_DIR = PACKAGE_DIR / "bundled"
IS_INSTALLED = _BUNDLED_DIR.is_dir()
_ASSETS_DIR = _BUNDLED_DIR if IS_INSTALLED else CHECKOUT
MODELS_DIR = _ASSETS_DIR / "models"
SAMPLES_DIR = _ASSETS_DIR / "samples"
FACE_DETECTOR_FILE = MODELS_DIR / "face_detector" / "face_detection_yunet_2023mar.onnx"
