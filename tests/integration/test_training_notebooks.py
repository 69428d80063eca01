"""The notebooks run from top to bottom."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import pytest
from facestream.common.core.paths import CHECKOUT, SAMPLES_DIR
from nbclient import NotebookClient

from tests.fixtures.utkface import write_utkface

NOTEBOOKS = CHECKOUT / "training" / "notebooks"
TINY_MODEL = CHECKOUT / "tests" / "fixtures" / "models" / "age_gender"
_TINY_RUN = """
train_folds: 0-8
validation_share: 0.3
network: {size_px: 64, alpha: 0.1, dense_units: 8}
fit: {batch: 8, stages: [{epochs: 1, size_px: 64}]}
"""

# The kernel's own sockets and event loop, not under our control.
pytestmark = pytest.mark.filterwarnings("ignore")


def _run(notebook: Path, work: Path, monkeypatch: pytest.MonkeyPatch, **environ: object) -> str:
    for name, value in {"REPO": CHECKOUT, "OUT": work / "out", **environ}.items():
        monkeypatch.setenv(f"FACESTREAM_{name}", str(value))
    monkeypatch.setenv("IPYTHONDIR", str(work / "ipython"))
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    node = nbformat.read(notebook, as_version=4)
    NotebookClient(node, timeout=300, resources={"metadata": {"path": str(work)}}).execute()
    return "".join(
        output.get("text", "") for cell in node.cells for output in cell.get("outputs", [])
    )


def test_the_try_a_model_notebook_prints_every_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = _run(NOTEBOOKS / "try_a_model.ipynb", tmp_path, monkeypatch, MODEL=TINY_MODEL)
    for image in SAMPLES_DIR.glob("*.jpg"):
        assert f"{image.name}: " in output


@pytest.mark.slow
def test_the_train_notebook_publishes_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "tiny.yaml"
    config.write_text(_TINY_RUN)
    data = write_utkface(tmp_path / "data", 60)
    output = _run(
        NOTEBOOKS / "train.ipynb",
        tmp_path,
        monkeypatch,
        DATA=data,
        TRAIN_CONFIG=config,
        WEIGHTS="none",
    )
    assert "# Age and gender of a face" in output
    assert (tmp_path / "out/models/age_gender/1/saved_model.pb").exists()
