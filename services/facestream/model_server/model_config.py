"""Parse TensorFlow Serving's `models.config`: versions to load and version labels of each model.

The file is a `ModelServerConfig` in protobuf text format. Only the fields that facestream uses are
read: `name`, `model_version_policy.specific.versions` and `version_labels`; others are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from facestream.common.core.errors import ModelError

_TOKEN = re.compile(r'\s*(?:#[^\n]*|("(?:[^"\\\n]|\\.)*")|([\w.+-]+)|([{}:;,]))')
_MAX_CONFIG_CHARS = 1_000_000
_MAX_DEPTH = 20

# Fields of a message in order; a value is a text or a message.
_Message = list[tuple[str, "str | _Message"]]


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Wanted state of one model.

    versions: numbers to load; empty for the newest. labels: label to version.
    """

    versions: frozenset[int] = frozenset()
    labels: dict[str, int] = field(default_factory=dict)


def parse_models_config(text: str) -> dict[str, ModelConfig]:
    """Return the models of a configuration by name.

    Raises:
        ModelError: the text is no configuration, or a label names a version that is not loaded.
    """
    if len(text) > _MAX_CONFIG_CHARS:
        raise ModelError(f"models.config has more than {_MAX_CONFIG_CHARS} characters")
    root = _parse_message(_tokens(text), 0)
    models: dict[str, ModelConfig] = {}
    for config in _messages(root, "model_config_list", "config"):
        name = _text(config, "name")
        if name in models:
            raise ModelError(f"models.config: model {name!r} is listed twice")
        policies = _messages(config, "model_version_policy", "specific")
        versions = frozenset(
            _number(value) for policy in policies for key, value in policy if key == "versions"
        )
        labels = {
            _text(label, "key"): _number(_text(label, "value"))
            for label in _messages(config, "version_labels")
        }
        for label, version in labels.items():
            if versions and version not in versions:
                raise ModelError(
                    f"models.config: label {label!r} of model {name!r} is version {version}, "
                    "which is not in versions"
                )
        models[name] = ModelConfig(versions, labels)
    if not models:
        raise ModelError("models.config: no model_config_list with a config")
    return models


def _tokens(text: str) -> Iterator[str]:
    position = 0
    text = text.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            line = text.count("\n", 0, position) + 1
            raise ModelError(f"models.config: line {line}: unexpected character")
        position = match.end()
        quoted, word, sign = match.groups()
        if quoted is not None:
            yield quoted
        elif word or sign:
            yield word or sign


def _parse_message(tokens: Iterator[str], depth: int) -> _Message:
    """Parse fields up to the closing brace of the message, or up to the end at depth 0."""
    if depth > _MAX_DEPTH:
        raise ModelError("models.config: nested too deeply")
    fields: _Message = []
    for key in tokens:
        if key == "}" and depth:
            return fields
        if key in (";", ","):
            continue
        if not re.fullmatch(r"[A-Za-z_]\w*", key):
            raise ModelError(f"models.config: unexpected {key[:40]!r}")
        value = next(tokens, "")
        if value == ":":
            value = next(tokens, "")
        if value == "{":
            fields.append((key, _parse_message(tokens, depth + 1)))
        elif value in ("", "}", ":", ";", ","):
            raise ModelError(f"models.config: {key[:40]} has no value")
        else:
            fields.append((key, value.strip('"')))
    if depth:
        raise ModelError("models.config: a closing brace is missing")
    return fields


def _messages(message: _Message, *path: str) -> list[_Message]:
    """Return the messages at a path of field names."""
    found = [message]
    for name in path:
        found = [
            value
            for parent in found
            for key, value in parent
            if key == name and isinstance(value, list)
        ]
    return found


def _text(message: _Message, name: str) -> str:
    for key, value in message:
        if key == name and isinstance(value, str):
            return value
    raise ModelError(f"models.config: {name} is missing")


def _number(value: str | _Message) -> int:
    if not isinstance(value, str) or not re.fullmatch(r"[0-9]{1,18}", value):
        raise ModelError("models.config: a version is not a number")
    return int(value)
