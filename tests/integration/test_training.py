"""Train, resume, export and evaluate on a tiny data set."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from facestream.common.core.errors import DataError, ModelError, SettingsError
from facestream.common.vision.age_distribution import median_and_std
from facestream.common.vision.exported_model import ExportedModel
from facestream.common.vision.model_store import newest_version
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from tests.fixtures.utkface import write_utkface
from training import run_record
from training.config import TrainConfig
from training.data.utkface import load
from training.distillation.teacher_targets import TeacherTargets, save
from training.evaluation.calibration import Calibration
from training.fitting.checkpoint import read_progress, weights_file
from training.model.network import average_weights, build
from training.publishing.export import export, load_network
from training.publishing.publish import publish
from training.publishing.serving_warmup import FILE as WARMUP_FILE
from training.train import train

pytestmark = pytest.mark.filterwarnings("ignore:Even though the `tf.config:UserWarning")
IMAGE_COUNT = 72


@pytest.fixture(scope="module", autouse=True)
def _eager() -> Iterator[None]:
    """Building the training step's graph takes longer than the few steps that are made here."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def _config(**network: object) -> TrainConfig:
    return TrainConfig.model_validate(
        {
            "train_folds": "0-7",
            "validation_share": 0.2,
            "network": {"size_px": 64, "alpha": 0.1, "dense_units": 16, **network},
            "fit": {"batch": 24, "ema": 0.9, "stages": [{"epochs": 2, "size_px": 64}]},
        }
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_utkface(tmp_path_factory.mktemp("utkface"), IMAGE_COUNT)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, data: Path, cache: Path) -> Path:
    """An unbroken run; beside it what a kill after its first epoch would have left."""
    folder = tmp_path_factory.mktemp("runs") / "unbroken"

    def log(line: str) -> None:
        if line.startswith("epoch 1/"):
            shutil.copytree(folder, folder.with_name("after first epoch"))

    train(_config(), data, folder, cache, None, log)
    return folder


@pytest.fixture(scope="module")
def published(run: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    destination = tmp_path_factory.mktemp("models") / "age_gender" / "1"
    return publish(run, data, destination, (8, 9), robustness_faces=4, log=lambda line: None)


def test_a_teacher_adds_a_loss_and_no_output_to_the_network(
    data: Path, cache: Path, tmp_path: Path
) -> None:
    images = [image for image in load(data)[0] if image.fold < 8]
    random = np.random.default_rng(0)
    said = TeacherTargets(
        random.dirichlet(np.ones(111), len(images)).astype(np.float32),
        random.random(len(images), np.float32),
        random.normal(size=(len(images), 4)).astype(np.float32),
    )
    save(tmp_path / "teacher.npz", said, images)
    config = _config().model_copy(update={"teacher_share": 0.5, "validation_share": 0.05})
    distilled = tmp_path / "distilled"
    train(config, data, distilled, cache, None, lambda line: None, tmp_path / "teacher.npz")
    assert (
        json.loads((distilled / "history.jsonl").read_text().splitlines()[0])["embedding_loss"] > 0
    )
    assert len(run_record.read(distilled)["teacher"]) == 64
    assert set(
        load_network(config.network, distilled / run_record.WEIGHTS_FILE, size_px=64).output
    ) == {
        "age",
        "gender",
    }
    with pytest.raises(SettingsError, match="a teacher needs both"):
        train(config, data, tmp_path / "none", cache, None, lambda line: None)


def _weights(run: Path, name: str) -> list[np.ndarray]:
    model = build(_config().network, None)
    model.load_weights(run / name)
    return [variable.numpy() for variable in model.trainable_variables]


def test_a_run_stores_its_record(run: Path) -> None:
    record = run_record.read(run)
    assert record["epochs"] == 2
    assert record["taken_s"] > 0
    assert record["machine"]["processor"]
    assert record["config"]["seed"] == 1
    assert record["data"]["files"] == IMAGE_COUNT
    assert record["commit"]
    history = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in history] == [1, 2]
    for name in ("contact_sheet.png", "curves.png"):
        assert (run / name).stat().st_size > 1000
    assert list((run / "tensorboard").iterdir())


def test_a_checkpoint_keeps_the_weights_that_learn_and_the_end_their_average(run: Path) -> None:
    learning = _weights(run, weights_file(run, read_progress(run)).name)
    averaged = _weights(run, run_record.WEIGHTS_FILE)
    assert any(not np.array_equal(a, b) for a, b in zip(learning, averaged, strict=True))


def test_a_killed_run_resumes_to_the_same_weights(
    run: Path, data: Path, cache: Path, tmp_path: Path
) -> None:
    killed = tmp_path / "killed"
    shutil.copytree(run.with_name("after first epoch"), killed)
    assert not (killed / run_record.WEIGHTS_FILE).exists()
    train(_config(), data, killed, cache, None, lambda line: None)
    unbroken, resumed = (
        _weights(run, run_record.WEIGHTS_FILE),
        _weights(killed, run_record.WEIGHTS_FILE),
    )
    for expected, actual in zip(unbroken, resumed, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-6)


def test_a_finished_run_ends_again_with_the_same_weights(
    data: Path, cache: Path, run: Path, tmp_path: Path
) -> None:
    again = tmp_path / "again"
    shutil.copytree(run, again)
    (again / run_record.WEIGHTS_FILE).unlink()
    train(_config(), data, again, cache, None, lambda line: None)
    for first, second in zip(
        _weights(run, run_record.WEIGHTS_FILE),
        _weights(again, run_record.WEIGHTS_FILE),
        strict=True,
    ):
        np.testing.assert_array_equal(first, second)


def test_the_first_weights_have_their_share_in_the_mean() -> None:
    model, first = (build(_config().network, None) for _ in range(2))
    pairs = zip(model.get_weights(), first.get_weights(), strict=True)
    wanted = [0.75 * now + 0.25 * then for now, then in pairs if now.dtype == np.float32]
    average_weights(model, first, 0.25)
    found = [weights for weights in model.get_weights() if weights.dtype == np.float32]
    for mean, should_be in zip(found, wanted, strict=True):
        np.testing.assert_allclose(mean, should_be, atol=1e-6)


def test_a_run_folder_is_not_reused_for_other_settings(run: Path, data: Path, cache: Path) -> None:
    with pytest.raises(SettingsError, match="other settings"):
        train(_config(dense_units=8), data, run, cache, None, lambda line: None)


def test_too_few_images_are_rejected(cache: Path, tmp_path: Path) -> None:
    few = write_utkface(tmp_path / "few", 3)
    with pytest.raises(DataError, match="too few"):
        train(_config(), few, tmp_path / "run", cache, None, lambda line: None)


def test_the_published_model_matches_its_signature(published: Path) -> None:
    loaded = tf.saved_model.load(str(published))
    assert set(loaded.signatures) == {"serving_default"}
    saved = SavedModel.FromString((published / "saved_model.pb").read_bytes())
    graph = saved.meta_graphs[0].graph_def
    nodes = [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
    assert not {"VarHandleOp", "ReadVariableOp"} & {node.op for node in nodes}
    faces = np.zeros((3, 64, 64, 3), np.uint8)
    predictions = loaded.signatures["serving_default"](faces=tf.constant(faces))
    shapes = {name: tuple(value.shape) for name, value in predictions.items()}
    assert shapes == {"age": (3,), "age_std": (3,), "gender": (3,), "age_distribution": (3, 111)}
    np.testing.assert_allclose(predictions["age_distribution"].numpy().sum(axis=1), 1, rtol=1e-5)
    median, deviation = median_and_std(predictions["age_distribution"].numpy())
    np.testing.assert_allclose(predictions["age"].numpy(), median, rtol=1e-4)
    np.testing.assert_allclose(predictions["age_std"].numpy(), deviation, rtol=1e-4)
    on_openvino = ExportedModel(published).predict(faces)
    for name, value in predictions.items():
        np.testing.assert_allclose(on_openvino[name], value.numpy(), atol=1e-2, rtol=1e-3)


def test_a_network_loads_published_weights(published: Path, run: Path) -> None:
    trained = build(_config().network, None)
    trained.load_weights(run / run_record.WEIGHTS_FILE)
    loaded = build(_config().network, published)
    for expected, actual in zip(trained.weights, loaded.weights, strict=True):
        if "seed" not in expected.name:
            np.testing.assert_array_equal(actual.numpy(), expected.numpy(), expected.path)


def test_weights_of_another_network_are_rejected(published: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="another network"):
        build(_config(dense_units=8).network, published)
    with pytest.raises(ModelError, match="no exported model"):
        build(_config().network, tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"rubbish")
    with pytest.raises(ModelError, match="no exported model: DecodeError"):
        build(_config().network, tmp_path)


def test_wrong_first_weights_are_one_line_before_there_is_a_run(
    data: Path, cache: Path, tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged.weights.h5"
    damaged.write_bytes(b"rubbish")
    run = tmp_path / "run"
    # Keras has none of ImageNet for a network as narrow as that of these tests.
    for weights in (tmp_path / "missing.weights.h5", damaged, "imagenet"):
        with pytest.raises(ModelError, match=r"no weights \w+") as caught:
            train(_config(), data, run, cache, weights, lambda line: None)
        assert "\n" not in str(caught.value)
        assert not run.exists()


def test_weights_that_cannot_be_downloaded_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail_download(**_: object) -> None:
        raise Exception("URL fetch failure on\nsomewhere: None -- no route")

    monkeypatch.setattr("keras.applications.MobileNetV2", fail_download)
    with pytest.raises(ModelError, match=r"imagenet: no weights .*: URL fetch failure on somewher"):
        build(_config().network, "imagenet")


def test_a_version_is_never_overwritten(published: Path, run: Path, data: Path) -> None:
    before = (published / "saved_model.pb").read_bytes()
    with pytest.raises(ModelError, match="exists already"):
        publish(run, data, published, (8, 9), log=lambda line: None)
    assert (published / "saved_model.pb").read_bytes() == before


def test_a_training_fold_of_an_ancestor_cannot_evaluate(
    published: Path, run: Path, data: Path, tmp_path: Path
) -> None:
    info = json.loads((published / "model.json").read_text())
    assert info["train_folds"] == list(range(8))
    assert info["validation_share"] == 0.2
    descendant = tmp_path / "run"
    shutil.copytree(run, descendant)
    run_record.write(descendant, {"train_folds": [*range(8), 9]})
    with pytest.raises(DataError, match="trained on fold 9"):
        publish(descendant, data, tmp_path / "age_gender" / "1", (8, 9), log=lambda line: None)


def test_nothing_is_left_beside_a_published_version(published: Path) -> None:
    assert [p.name for p in published.parent.iterdir()] == [published.name]
    assert newest_version(published.parent) == published


def test_the_card_names_terms_figures_groups_limits_and_commit(published: Path, run: Path) -> None:
    card = (published / "MODEL_CARD.md").read_text()
    info = json.loads((published / "model.json").read_text())
    evaluation = json.loads((run / "evaluation.json").read_text())
    assert "non-commercial research only" in card
    assert f"{evaluation['age_mae']:.3f}" in card
    for part in ("ethnicity: Asian", "## Limits", run_record.read(run)["commit"], "face width, px"):
        assert part in card
    assert info["input_size_px"] == 64
    assert info["margin"] == 0
    assert info["calibration"]["age_temperature"] > 0


def test_calibration_on_the_held_out_share_is_recorded_before_and_after(
    published: Path, run: Path
) -> None:
    record = run_record.read(run)["calibration"]
    assert record["before"]["n"] == record["after"]["n"] == run_record.read(run)["validation_faces"]
    assert abs(record["after"]["interval_coverage"] - 0.8) <= abs(
        record["before"]["interval_coverage"] - 0.8
    )


def test_warm_up_requests_are_what_the_official_server_reads(published: Path) -> None:
    records = tf.data.TFRecordDataset(str(published / WARMUP_FILE))
    logs = [PredictionLog.FromString(r.numpy()) for r in records]
    assert [log.WhichOneof("log_type") for log in logs] == ["predict_log"] * len(logs)
    model = tf.saved_model.load(str(published)).signatures["serving_default"]
    for log in logs:
        request = log.predict_log.request
        assert request.model_spec.name == "age_gender"
        faces = tf.make_ndarray(request.inputs["faces"])
        assert faces.dtype == np.uint8
        assert faces.shape[1:] == (64, 64, 3)
        assert model(faces=tf.constant(faces))["age"].shape == faces.shape[0]


def test_a_network_of_one_head_is_also_served_under_its_name(tmp_path: Path) -> None:
    model = build(_config(heads=["gender"]).network, None, size_px=64)
    crops = np.zeros((1, 64, 64, 3), np.uint8)
    done = export(model, tmp_path / "gender" / "3", Calibration(), crops, lambda _: ({}, "card"))
    loaded = tf.saved_model.load(str(done))
    assert set(loaded.signatures) == {"serving_default", "gender"}
    assert set(loaded.signatures["gender"](faces=tf.constant(crops))) == {"gender"}


def test_nothing_is_published_where_the_runtimes_disagree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        ExportedModel, "predict", lambda self, crops: {"gender": np.full(len(crops), 9, np.float32)}
    )
    model = build(_config(heads=["gender"]).network, None, size_px=64)
    crops = np.zeros((1, 64, 64, 3), np.uint8)
    with pytest.raises(ModelError, match="disagree, nothing published"):
        export(model, tmp_path / "gender" / "1", Calibration(), crops, lambda _: ({}, "card"))
    assert not list((tmp_path / "gender").iterdir())
