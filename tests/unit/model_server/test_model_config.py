"""TensorFlow Serving's models.config: parsed fields, and damaged text."""

from __future__ import annotations

import pytest
from facestream.common.core.errors import ModelError
from facestream.model_server.model_config import ModelConfig, parse_models_config

from tests.fixtures.deploy import DEPLOY


def test_the_published_file_is_parsed() -> None:
    models = parse_models_config((DEPLOY / "serving" / "models.config").read_text())
    assert list(models) == ["age_gender"]
    config = models["age_gender"]
    assert set(config.labels) == {"stable", "canary"}
    assert set(config.labels.values()) <= config.versions


def test_a_model_without_a_policy_has_no_versions() -> None:
    text = 'model_config_list: { config: { name: "m", base_path: "/m" } }'
    assert parse_models_config(text) == {"m": ModelConfig()}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no model_config_list"),
        ("model_config_list {", "brace is missing"),
        ("model_config_list { config { } }", "name is missing"),
        ("a {" * 50, "too deeply"),
        ("name: }", "has no value"),
        ("%", "line 1"),
        ("} name: 1", "unexpected"),
        (
            'model_config_list { config { name: "m" model_version_policy { '
            "specific { versions: 1 } }"
            ' version_labels { key: "stable" value: 2 } } }',
            "not in versions",
        ),
        (
            'model_config_list { config { name: "m" '
            "model_version_policy { specific { versions: x } } } }",
            "not a number",
        ),
    ],
)
def test_a_damaged_file_is_one_line(text: str, problem: str) -> None:
    with pytest.raises(ModelError, match=problem) as error:
        parse_models_config(text)
    assert "\n" not in str(error.value)
