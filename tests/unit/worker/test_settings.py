"""Settings of the worker."""

import pytest
from facestream.common.core.errors import SettingsError
from facestream.worker.settings import WorkerSettings


def load(**flags: object) -> WorkerSettings:
    return WorkerSettings.load(flags=flags, environ={})


def test_models_are_given_by_comma() -> None:
    assert load().models == ("age_gender",)
    assert load(models="age, gender").models == ("age", "gender")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("models", "", "at least one"),
        ("models", "age,age", "each once"),
        ("model_server", "localhost", "HOST:PORT"),
        ("model_server", "http://localhost:8500", "HOST:PORT"),
        ("model_server", "localhost:0", "HOST:PORT"),
        ("batch_max", "0", "batch-max"),
    ],
)
def test_a_wrong_setting_is_named(key: str, value: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        load(**{key: value})
