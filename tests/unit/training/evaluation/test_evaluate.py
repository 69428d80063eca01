"""The evaluation on a model with known outputs: age and gender from a crop's mean color."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from facestream.common.core.errors import DataError, ModelError
from facestream.common.vision.exported_model import ExportedModel

from tests.fixtures.serving import TINY_MODELS
from tests.fixtures.utkface import write_utkface
from training.cli import main
from training.data.utkface import load
from training.evaluation.evaluate import end_to_end_cropper, evaluate, flip_averaged, predict_all
from training.evaluation.report import plot_evaluation

MODEL = TINY_MODELS / "age_gender" / "1"
ALL_FOLDS = tuple(range(10))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fourteen faces; one of them twice under two genders; and an image without a face."""
    folder = write_utkface(tmp_path_factory.mktemp("utkface"), 14)
    twin = min(folder.iterdir())
    age, female, rest = twin.name.split("_", 2)
    (folder / f"{age}_{1 - int(female)}_{rest}").write_bytes(twin.read_bytes())
    cv2.imwrite(str(folder / "30_1_0_1.jpg"), np.full((200, 200, 3), 90, np.uint8))
    return folder


@pytest.fixture(scope="module")
def model() -> ExportedModel:
    return ExportedModel(MODEL)


@pytest.fixture(scope="module")
def report(model: ExportedModel, data: Path) -> dict[str, Any]:
    return evaluate(model, data, ALL_FOLDS)


def test_what_the_export_wrote_must_be_whole(tmp_path: Path) -> None:
    version = tmp_path / "1"
    shutil.copytree(MODEL, version)
    (version / "model.json").write_text('{"name": ')
    with pytest.raises(ModelError, match=r"model\.json: cannot be read .*export the model again"):
        ExportedModel(version).info()


def test_both_ways_have_all_figures(report: dict[str, Any]) -> None:
    for way in ("aligned", "end_to_end"):
        for name in ("age_mae", "gender_accuracy", "interval_coverage", "n", "flip", "by"):
            assert name in report[way]
    assert report["age_mae"] == report["aligned"]["age_mae"]
    json.dumps(report)


def test_a_missed_face_is_counted_and_not_judged(report: dict[str, Any]) -> None:
    assert report["aligned"]["missed"] == 0
    assert report["end_to_end"]["missed"] == 1
    assert report["end_to_end"]["n"] == report["aligned"]["n"] - 1


def test_conflicting_labels_count_only_in_raw(report: dict[str, Any]) -> None:
    assert report["aligned"]["n"] == 14
    assert report["raw"]["n"] == 16


def test_the_predictions_are_those_of_the_model(model: ExportedModel, data: Path) -> None:
    images = load(data)[0]
    crop_face = end_to_end_cropper(model.size_px)
    seen = []

    def predict(crops: np.ndarray) -> dict[str, np.ndarray]:
        seen.append(crops)
        return model.predict(crops)

    found, predictions = predict_all(images, crop_face, predict)
    green = np.concatenate(seen)[..., 1].mean(axis=(1, 2)) / 255
    assert len(predictions["age"]) == found.sum()
    np.testing.assert_allclose(predictions["age"], 100 * green + 1, atol=0.02)


def test_flip_averaging_takes_the_age_from_the_mean_distribution() -> None:
    first, second = np.zeros((1, 111), np.float32), np.zeros((1, 111), np.float32)
    first[0, 20] = 1
    second[0, [20, 40]] = 0.6, 0.4
    mean = flip_averaged(
        {"age_distribution": first, "gender": np.array([0.2], np.float32)},
        {"age_distribution": second, "gender": np.array([0.6], np.float32)},
    )
    assert mean["age"] == pytest.approx([19.5 + 0.5 / 0.8])
    assert mean["age_std"] == pytest.approx([8])
    assert mean["gender"] == pytest.approx([0.4])


def test_folds_without_an_image_are_refused(model: ExportedModel, data: Path) -> None:
    empty = next(fold for fold in ALL_FOLDS if all(p.fold != fold for p in load(data)[0]))
    with pytest.raises(DataError, match="no image in folds"):
        evaluate(model, data, (empty,))


def test_the_plot_is_drawn(report: dict[str, Any], tmp_path: Path) -> None:
    plot_evaluation(report, tmp_path / "plot.png")
    image = cv2.imread(str(tmp_path / "plot.png"))
    assert image is not None
    assert image.std() > 5


def test_the_command_writes_the_figures_and_needs_no_tensorflow(data: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from training.cli import main; "
        f"code = main(['evaluate', '--model', {str(MODEL.parent)!r}, '--data', {str(data)!r}, "
        f"'--folds', '0-9', '--json', {str(tmp_path / 'out.json')!r}]); "
        "sys.exit(code or int('tensorflow' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "gender: accuracy" in done.stdout
    assert json.loads((tmp_path / "out.json").read_text())["model"]["path"].endswith("/2")


def test_plots_go_to_the_given_paths_and_the_tables_come_first(
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plot, stem = tmp_path / "new" / "plot.png", tmp_path / "new" / "v9.1"
    arguments = ["evaluate", "--model", str(MODEL), "--data", str(data), "--folds", "0-9"]
    corruptions = ["--robustness-output", str(stem), "--robustness-faces", "1"]
    assert main([*arguments, "--plot", str(plot), *corruptions]) == 0
    assert {p.name for p in plot.parent.iterdir()} == {"plot.png", "v9.1.json", "v9.1.png"}
    capsys.readouterr()

    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("training.evaluation.report.plot_evaluation", full)
    with pytest.raises(OSError, match="no space left"):
        main([*arguments, "--plot", str(plot)])
    assert "gender: accuracy" in capsys.readouterr().out


def test_a_wrong_folder_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["evaluate", "--model", str(tmp_path), "--data", str(tmp_path)]
    assert main(arguments) == 1
    said = capsys.readouterr().err
    assert "no exported model here" in said
    assert said.count("\n") == 1
