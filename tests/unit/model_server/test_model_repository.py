"""Model repository: loading, swapping and unloading versions; models are plain strings."""

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest
from facestream.common.core.errors import ModelError
from facestream.model_server.metrics import ModelServerMetrics
from facestream.model_server.model_repository import NotServedError, Repository, State
from prometheus_client import CollectorRegistry


class Loader:
    """Loader of text files; `bad` and `odd` fail to load."""

    def __init__(self) -> None:
        self.loaded: list[str] = []

    def __call__(self, folder: Path) -> str:
        text = (folder / "saved_model.pb").read_text()
        self.loaded.append(f"{folder.parent.name}/{folder.name}")
        if text.startswith("bad"):
            raise ModelError("does not load")
        if text.startswith("odd"):
            raise MemoryError("too large")
        return text


@pytest.fixture
def loader() -> Loader:
    return Loader()


@pytest.fixture
def repository(tmp_path: Path, loader: Loader) -> Repository[str]:
    return Repository(tmp_path, loader, ModelServerMetrics(CollectorRegistry()))


def put(folder: Path, model: str, version: str, text: str) -> Path:
    file = folder / model / version / "saved_model.pb"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def asked(repository: Repository[str], version: int | None = None) -> tuple[str, int]:
    with repository.lease("m", version) as answer:
        return answer


def states(repository: Repository[str]) -> dict[int, State]:
    return {status.version: status.state for status in repository.statuses("m", None)}


def test_versions_are_compared_as_numbers(tmp_path: Path, repository: Repository[str]) -> None:
    put(tmp_path, "m", "9", "nine")
    put(tmp_path, "m", "10", "ten")
    put(tmp_path, "m", "latest", "no version")
    put(tmp_path, "m", "²", "no version either")
    (tmp_path / "m" / "11").mkdir()  # still being copied
    (tmp_path / "README.md").write_text("not a model")
    repository.poll()
    assert asked(repository) == ("ten", 10)
    assert asked(repository, 10) == ("ten", 10)
    with pytest.raises(NotServedError, match=r"Specific\(m, 9\)"):
        asked(repository, 9)


def test_the_old_version_stays_loaded_until_its_last_request_ends(
    tmp_path: Path, repository: Repository[str]
) -> None:
    put(tmp_path, "m", "1", "one")
    repository.poll()
    with repository.lease("m", None) as first:
        with repository.lease("m", None):
            put(tmp_path, "m", "2", "two")
            repository.poll()
            assert asked(repository) == ("two", 2)
        assert states(repository) == {1: State.UNLOADING, 2: State.AVAILABLE}
        assert first == ("one", 1)
    assert states(repository) == {1: State.END, 2: State.AVAILABLE}


def test_a_failed_version_is_retried_only_when_its_file_changes(
    tmp_path: Path, repository: Repository[str], loader: Loader
) -> None:
    put(tmp_path, "m", "1", "one")
    put(tmp_path, "m", "2", "bad")
    for _ in range(3):
        repository.poll()
    assert loader.loaded == ["m/2", "m/1"]
    assert asked(repository) == ("one", 1)
    assert states(repository) == {2: State.END, 1: State.AVAILABLE}
    put(tmp_path, "m", "2", "two, mended")
    repository.poll()
    assert asked(repository) == ("two, mended", 2)


def test_a_version_that_is_still_being_copied_is_retried(tmp_path: Path, loader: Loader) -> None:
    def load(folder: Path) -> str:
        if not (folder / "variables" / "variables.index").exists():
            raise ModelError("no variables")
        return loader(folder)

    repository = Repository(tmp_path, load, ModelServerMetrics(CollectorRegistry()))
    put(tmp_path, "m", "1", "one")
    repository.poll()
    assert repository.served() == []
    (tmp_path / "m" / "1" / "variables").mkdir()
    (tmp_path / "m" / "1" / "variables" / "variables.index").write_text("all of it")
    repository.poll()
    assert asked(repository) == ("one", 1)


def test_the_previous_version_is_served_when_the_newest_is_removed(
    tmp_path: Path, repository: Repository[str]
) -> None:
    put(tmp_path, "m", "1", "one")
    newest = put(tmp_path, "m", "2", "two")
    repository.poll()
    newest.unlink()
    repository.poll()
    assert asked(repository) == ("one", 1)


def test_a_removed_model_is_not_served_and_may_come_back(
    tmp_path: Path, repository: Repository[str]
) -> None:
    file = put(tmp_path, "m", "1", "one")
    repository.poll()
    assert repository.served() == ["m"]
    file.unlink()
    repository.poll()
    assert repository.served() == []
    with pytest.raises(NotServedError, match=r"Latest\(m\)"):
        asked(repository)
    put(tmp_path, "m", "1", "one again")
    repository.poll()
    assert asked(repository) == ("one again", 1)


def test_an_unreadable_folder_removes_no_model(
    tmp_path: Path, repository: Repository[str], caplog: pytest.LogCaptureFixture
) -> None:
    put(tmp_path, "m", "1", "one")
    repository.poll()
    tmp_path.rename(tmp_path.with_name("away"))
    for _ in range(3):
        repository.poll()
    assert asked(repository) == ("one", 1)
    assert len([r for r in caplog.records if "models folder" in r.getMessage()]) == 1
    tmp_path.with_name("away").rename(tmp_path)


def test_one_unreadable_folder_does_not_hide_the_others(
    tmp_path: Path,
    repository: Repository[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    put(tmp_path, "m", "1", "one")
    put(tmp_path, "closed", "1", "one")
    repository.poll()
    iterdir = Path.iterdir

    def refuse(folder: Path) -> Iterator[Path]:  # by name: root may read everything
        if folder.name in ("closed", "lost+found"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return iterdir(folder)

    monkeypatch.setattr(Path, "iterdir", refuse)
    (tmp_path / "lost+found").mkdir()
    put(tmp_path, "m", "2", "two")
    for _ in range(3):
        repository.poll()
    assert asked(repository) == ("two", 2)
    assert repository.served() == ["closed", "m"]  # what answered goes on to
    lines = [r.getMessage() for r in caplog.records if "models folder" in r.getMessage()]
    assert len(lines) == 2  # one per folder, however often it is scanned


def test_an_unexpected_load_error_ends_the_version(
    tmp_path: Path, repository: Repository[str], loader: Loader
) -> None:
    put(tmp_path, "m", "1", "one")
    put(tmp_path, "m", "2", "odd")
    for _ in range(2):
        repository.poll()
    assert loader.loaded == ["m/2", "m/1"]
    assert asked(repository) == ("one", 1)
    failed = next(status for status in repository.statuses("m", 2))
    assert (failed.state, failed.error) == (State.END, "cannot load: MemoryError: too large")


def test_the_number_of_ended_versions_is_bounded(
    tmp_path: Path, repository: Repository[str]
) -> None:
    for version in range(1, 40):
        put(tmp_path, "m", str(version), "one")
        repository.poll()
    assert len(states(repository)) < 12
    assert asked(repository)[1] == 39
