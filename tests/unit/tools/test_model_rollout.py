"""Rollout of a model version; the embedded server refuses as TensorFlow Serving."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from facestream.model_server.service import ModelServer

from tests.fixtures.deploy import DEPLOY
from tests.fixtures.polling import wait_for
from tests.fixtures.serving import put_version, settings_for
from tools.model_rollout import ModelClient, Rollout, RolloutError, read_faces

FACES = read_faces(None)
PUBLISHED = (DEPLOY / "serving" / "models.config").read_text()


def published(old: int) -> str:
    """Return the published configuration with version `old` as the only one."""
    return PUBLISHED.replace("versions: 9", f"versions: {old}").replace("value: 9", f"value: {old}")


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    file = tmp_path / "models.config"
    file.write_text(published(1))
    return file


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    put_version(folder, "age_gender", 1)
    return folder


@pytest.fixture
def client(models_dir: Path, config_file: Path) -> Iterator[ModelClient]:
    settings = settings_for(models_dir).model_copy(update={"models_config_file": config_file})
    server, stop = ModelServer(settings), threading.Event()
    thread = threading.Thread(target=server.run, args=(stop,))
    thread.start()
    client = ModelClient(f"127.0.0.1:{server.port}", "age_gender")
    try:
        wait_for(server.repository.served)
        yield client
    finally:
        client.close()
        stop.set()
        thread.join(15)


class Load:
    """Requests without a label, one after another, as workers send them."""

    def __init__(self, client: ModelClient) -> None:
        self._client, self._stop = client, threading.Event()
        self.versions: list[int] = []
        self.errors: list[str] = []
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join(15)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.versions.append(self._client.predict(FACES)[0])
            except grpc.RpcError as error:
                self.errors.append(str(error))
            time.sleep(0.005)


def rollout(client: ModelClient, config_file: Path, timeout_s: float = 20.0) -> Rollout:
    return Rollout(client, config_file, timeout_s, poll_s=0.02, print_line=lambda line: None)


def test_a_rollout_and_its_rollback_fail_no_request(
    client: ModelClient, models_dir: Path, config_file: Path
) -> None:
    put_version(models_dir, "age_gender", 2)
    with Load(client) as load:
        rollout(client, config_file).run(2, FACES, 100)
        assert client.predict(FACES, label="stable")[0] == 2
        assert config_file.read_text() == published(2)
        rollout(client, config_file).run(1, FACES, 100)
        assert client.predict(FACES, label="stable")[0] == 1
        assert config_file.read_text() == published(1)
        wait_for(lambda: load.versions[-1] == 1)
    assert load.errors == []
    assert set(load.versions) == {1, 2}


def test_version_and_labels_in_one_edit_are_refused(
    client: ModelClient, models_dir: Path, config_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put_version(models_dir, "age_gender", 2)
    config_file.write_text(published(2))
    wait_for(lambda: "cannot move to version 2, which is not available" in caplog.text)
    assert 2 not in client.states()
    assert client.predict(FACES, label="stable")[0] == client.predict(FACES)[0] == 1


def test_the_last_version_is_served_when_its_folder_is_removed(
    client: ModelClient, models_dir: Path, config_file: Path
) -> None:
    """A checkout replaces folder and labels together: the old model serves the faces meanwhile."""
    put_version(models_dir, "age_gender", 2)
    shutil.rmtree(models_dir / "age_gender" / "1")
    config_file.write_text(published(2))
    time.sleep(0.5)  # ten polls
    assert client.predict(FACES)[0] == 1
    rolled = rollout(client, config_file)
    config_file.write_text(published(1))
    rolled.run(2, FACES, 100)
    assert client.predict(FACES, label="canary")[0] == 2


@pytest.mark.parametrize("reason", ["missing", "age"])
def test_a_failed_step_rolls_back(
    client: ModelClient, models_dir: Path, config_file: Path, reason: str
) -> None:
    if reason == "age":
        put_version(models_dir, "age_gender", 2)
    with Load(client) as load, pytest.raises(RolloutError, match="rolled back to version 1"):
        rollout(client, config_file, 20 if reason == "age" else 0.5).run(2, FACES, -1)
    assert load.errors == []
    assert config_file.read_text() == published(1)
    wait_for(lambda: client.predict(FACES)[0] == 1)
    assert client.predict(FACES, label="canary")[0] == 1
