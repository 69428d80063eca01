"""What a killed run needs to go on: weights, the optimizer's state, and how far it had come.

Each epoch's files carry its number; `state.json`, replaced in one step, says which count. So a kill
at any moment leaves a state and the files that belong to it.
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
    """How far a run has come.

    epoch: epochs done; learns: which layers learnt in the last; best_loss, best_epoch: of the
    validation faces.
    """

    epoch: int = 0
    learns: str = ""
    taken_s: float = 0.0
    best_loss: float = float("inf")
    best_epoch: int = 0


def read_progress(run_dir: Path) -> Progress:
    """Of the run in this folder; of a new one if there is none."""
    path = run_dir / _STATE_FILE
    return Progress(**json.loads(path.read_text())) if path.exists() else Progress()


def save(model: keras.Model, run_dir: Path, progress: Progress) -> None:
    """Keep the model and its optimizer as they are after `progress.epoch` epochs."""
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
    """Bring back the weights alone, for a stage that starts with a fresh optimizer."""
    model.load_weights(weights_file(run_dir, progress))


def load(model: keras.Model, run_dir: Path, progress: Progress) -> None:
    """Bring back weights and optimizer; the model is compiled as it was."""
    load_weights(model, run_dir, progress)
    with np.load(run_dir / f"{_STEM}{progress.epoch}.npz") as saved:
        for i, variable in enumerate(model.optimizer.variables):
            variable.assign(saved[f"v{i}"])


def weights_file(run_dir: Path, progress: Progress) -> Path:
    """The weights that learn, not their average."""
    return run_dir / f"{_STEM}{progress.epoch}.weights.h5"
