"""Where models are and what a version of one is called. Pure, and cheap to import."""

from __future__ import annotations

from pathlib import Path

MODELS_DIR = Path(__file__).resolve().parents[2] / "models"
SAVED_MODEL = "saved_model.pb"  # the file that makes `<model>/<version>/` a version
