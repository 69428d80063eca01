"""Checkpoints: weights, optimizer state and progress, from which a killed run resumes.

The files of an epoch carry its number; `state.json` names the current epoch and is replaced
atomically. So a kill at any time leaves a state with matching files.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import numpy as np

_STATE_FILE = "state.json"
_STEM = "checkpoint-"


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a run.

    epoch: finished epochs; learns: trainable layers of the last one; best_loss, best_epoch: on the
    validation faces.
    """

    epoch: int = 0
    learns: str = ""
    taken_s: float = 0.0
    best_loss: float = float("inf")
    best_epoch: int = 0


def read_progress(run_dir: Path) -> Progress:
    """Return the progress of the run in this folder, or that of a new run."""
    path = run_dir / _STATE_FILE
    return Progress(**json.loads(path.read_text())) if path.exists() else Progress()


def save(model: keras.Model, run_dir: Path, progress: Progress) -> None:
    """Save model and optimizer after `progress.epoch` epochs and delete older checkpoints."""
    stem = f"{_STEM}{progress.epoch}"
    model.save_weights(run_dir / f"{stem}.weights.h5")
    variables = {f"v{i}": v.numpy() for i, v in enumerate(model.optimizer.variables)}
    np.savez(run_dir / f"{stem}.npz", **variables)
    partial = run_dir / f"{_STATE_FILE}.partial"
    partial.write_text(json.dumps(asdict(progress)))
    partial.replace(run_dir / _STATE_FILE)
    for old in run_dir.glob(f"{_STEM}*"):
        if old.name not in (f"{stem}.weights.h5", f"{stem}.npz"):
            old.unlink()


def load_weights(model: keras.Model, run_dir: Path, progress: Progress) -> None:
    """Restore the weights alone, for a stage that starts with a new optimizer."""
    model.load_weights(weights_file(run_dir, progress))


def load(model: keras.Model, run_dir: Path, progress: Progress) -> None:
    """Restore weights and optimizer of a model that is compiled as before."""
    load_weights(model, run_dir, progress)
    with np.load(run_dir / f"{_STEM}{progress.epoch}.npz") as saved:
        for i, variable in enumerate(model.optimizer.variables):
            variable.assign(saved[f"v{i}"])


def weights_file(run_dir: Path, progress: Progress) -> Path:
    """Return the file of the raw weights (not of their moving average)."""
    return run_dir / f"{_STEM}{progress.epoch}.weights.h5"
