"""Locate the files that ship with the code: models, samples and the checkout itself."""

from __future__ import annotations

from pathlib import Path

SOURCE_ROOT = Path(__file__).resolve().parents[3]  # the folder that Python imports the package from
CHECKOUT = SOURCE_ROOT.parent  # holds models/, samples/, training/
MODELS_DIR = CHECKOUT / "models"
SAMPLES_DIR = CHECKOUT / "samples"
FACE_DETECTOR_FILE = MODELS_DIR / "face_detector" / "face_detection_yunet_2023mar.onnx"
