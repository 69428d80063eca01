"""Settings of the worker."""

import pytest
from facestream.common.core.errors import SettingsError
from facestream.worker.settings import WorkerSettings


def load(**flags: object) -> WorkerSettings:
    return WorkerSettings.load(flags=flags, environ={})


def test_models_are_given_by_comma() -> None:
    assert load().model_names == ("age_gender",)
    assert load(model_names="age, gender").model_names == ("age", "gender")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("model_names", "", "at least one"),
        ("model_names", "age,age", "each once"),
        ("model_server_address", "localhost", "HOST:PORT"),
        ("model_server_address", "http://localhost:8500", "HOST:PORT"),
        ("model_server_address", "localhost:0", "HOST:PORT"),
        ("max_batch_size", "0", "max-batch-size"),
    ],
)
def test_a_wrong_setting_is_named(key: str, value: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        load(**{key: value})
