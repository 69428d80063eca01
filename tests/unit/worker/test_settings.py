"""Settings of the worker."""

import pytest
from facestream.common.core.errors import SettingsError
from facestream.worker.settings import WorkerSettings


def load(**flags: object) -> WorkerSettings:
    return WorkerSettings.load(flags=flags, environ={})


def test_model_names_are_separated_by_commas() -> None:
    assert load().model_names == ("age_gender",)
    assert load(model_names="age, gender").model_names == ("age", "gender")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("model_names", "", "at least one"),
        ("model_names", "age,age", "each only once"),
        ("model_server_address", "localhost", "HOST:PORT"),
        ("model_server_address", "http://localhost:8500", "HOST:PORT"),
        ("model_server_address", "localhost:0", "HOST:PORT"),
        ("max_batch_size", "0", "max-batch-size"),
    ],
)
def test_an_invalid_setting_is_named(key: str, value: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load(**{key: value})
