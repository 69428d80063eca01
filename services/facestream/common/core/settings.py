"""Settings loader: one frozen, typed class per service, from defaults, file, environment and flags.

Precedence: default < file < environment < flag. The file is YAML, with the shared keys at the top
and one section per service:

    broker: redis://broker:6379/0
    capture:
      detection_fps: 5

The same in the environment: `FACESTREAM_BROKER`, `FACESTREAM_CAPTURE_DETECTION_FPS`; as flags:
`--broker`, `--detection-fps`. An unknown key is an error that suggests the nearest known one.
"""

from __future__ import annotations

import argparse
import difflib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from facestream.common.core.config_files import read_yaml
from facestream.common.core.errors import SettingsError
from facestream.common.core.process_lifecycle import PARENT_ENV
from facestream.common.security.redaction import redact, register_url_password, validation_message

ENV_PREFIX = "FACESTREAM_"
CONFIG_ENV = "FACESTREAM_CONFIG"
CAMERAS_ENV = "FACESTREAM_CAMERAS"  # NAME=URL NAME=URL …; for the command line, not a setting
_NOT_SETTINGS = (CONFIG_ENV, CAMERAS_ENV, PARENT_ENV)
SECTIONS = ("capture", "worker", "annotator", "model_server", "up")


class CommonSettings(BaseModel):
    """Settings of every service. Subclasses set `section` and add their own fields."""

    # pydantic reserves the prefix `model_`, which some settings have.
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())
    section: ClassVar[str] = ""

    broker: SecretStr = Field(
        SecretStr("redis://127.0.0.1:6379/0"),
        description="URL of Redis or Valkey: redis://, rediss://, unix://, redis+cluster:// or "
        "redis+sentinel://",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="log level: debug, info, warning or error"
    )

    @classmethod
    def load(
        cls,
        flags: Mapping[str, Any] | None = None,
        environ: Mapping[str, str] | None = None,
        config_file: Path | None = None,
    ) -> Self:
        """Read the settings of this service.

        Raises:
            SettingsError: unknown key, invalid value or unreadable file; the message names its
            source.
        """
        environ = os.environ if environ is None else environ
        if config_file is None and environ.get(CONFIG_ENV):
            config_file = Path(environ[CONFIG_ENV])
        origins: dict[str, str] = {}
        values: dict[str, Any] = {}
        sources = [
            _from_file(cls, config_file) if config_file else {},
            _from_environ(cls, environ),
            {k: (v, "--" + k.replace("_", "-")) for k, v in (flags or {}).items() if v is not None},
        ]
        for source in sources:
            for key, (value, origin) in source.items():
                values[key], origins[key] = value, origin
        try:
            settings = cls.model_validate(values)
        except ValidationError as error:
            raise SettingsError(_format_error(error, origins)) from None
        register_url_password(settings.broker.get_secret_value())
        return settings


S = TypeVar("S", bound=CommonSettings)


def add_flags(parser: argparse.ArgumentParser, cls: type[CommonSettings]) -> None:
    """Add a `--flag` for every field of a settings class, with its help text and default."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings file (YAML)")
    for name, field in cls.model_fields.items():
        default = _format_default(field.get_default(call_default_factory=True))
        text = (field.description or "") + (f" (default: {default})" if default else "")
        # A Boolean flag without a value means true: `--https` or `--https=false`.
        switch: dict[str, Any] = {"nargs": "?", "const": "true"} if field.annotation is bool else {}
        parser.add_argument(
            "--" + name.replace("_", "-"),
            dest=name,
            metavar=_metavar(name, field.annotation),
            help=text.replace("%", "%%"),
            **switch,
        )


def _metavar(name: str, annotation: Any) -> str:
    last = name.rsplit("_", 1)[-1]
    if annotation is bool:
        return "true|false"
    if annotation in (int, float) and last != "port":
        return {"s": "SECONDS", "ms": "MILLISECONDS", "px": "PIXELS"}.get(last, "N")
    return "URL" if name == "broker" else last.upper()


def _format_default(value: Any) -> str:
    """Return a default as the user would write it; empty where there is nothing to print."""
    if isinstance(value, SecretStr):
        return redact(value.get_secret_value())
    if isinstance(value, Path):
        return value.name if value.is_absolute() else str(value)  # not a path of this machine
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple | set | frozenset):
        return ",".join(map(str, value))
    return "" if value is None else str(value)


def from_arguments(cls: type[S], arguments: argparse.Namespace) -> S:
    """Return the settings of a service from its parsed command line."""
    flags = {name: getattr(arguments, name, None) for name in cls.model_fields}
    return cls.load(flags=flags, config_file=getattr(arguments, "config", None))


def did_you_mean(key: str, known: Sequence[str]) -> str:
    """Return ` (did you mean 'x'?)`, or an empty string if no known key is close."""
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _from_file(cls: type[CommonSettings], path: Path) -> dict[str, tuple[Any, str]]:
    document = read_yaml(path)
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise SettingsError(f"{path}: must contain keys and values")
    shared = list(CommonSettings.model_fields)
    found: dict[str, tuple[Any, str]] = {}
    for key, value in document.items():
        if key in SECTIONS:
            if not isinstance(value, dict | None):
                raise SettingsError(f"{path}: {key}: must contain keys and values")
            if key == cls.section:
                for inner, inner_value in (value or {}).items():
                    _check_known(f"{key}.{inner}", inner, list(cls.model_fields), path)
                    found[inner] = (inner_value, f"{path}: {key}.{inner}")
        else:
            if key in cls.model_fields and key not in shared:
                raise SettingsError(f"{path}: {key!r} belongs under {cls.section!r}")
            _check_known(key, key, [*shared, *SECTIONS], path)
            found.setdefault(key, (value, f"{path}: {key}"))
    return found


def _check_known(full_key: str, key: str, known: Sequence[str], path: Path) -> None:
    if key not in known:
        raise SettingsError(f"{path}: unknown setting {full_key!r}{did_you_mean(str(key), known)}")


def _from_environ(
    cls: type[CommonSettings], environ: Mapping[str, str]
) -> dict[str, tuple[Any, str]]:
    found: dict[str, tuple[Any, str]] = {}
    own = f"{cls.section}_" if cls.section else None
    others = tuple(f"{section}_" for section in SECTIONS if section != cls.section)
    shared = list(CommonSettings.model_fields)
    for variable in sorted(environ):
        if not variable.startswith(ENV_PREFIX) or variable in _NOT_SETTINGS:
            continue
        key = variable.removeprefix(ENV_PREFIX).lower()
        if own and key.startswith(own):
            key, known = key.removeprefix(own), list(cls.model_fields)
        elif key.startswith(others):
            continue
        else:
            known = shared
        if key not in known:
            raise SettingsError(f"unknown setting {variable}{_nearest_variable(cls, key, known)}")
        if key not in found or known is not shared:  # a service's own variable beats the shared one
            found[key] = (environ[variable], variable)
    return found


def _nearest_variable(cls: type[CommonSettings], key: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    if not close:
        return ""
    middle = "" if close[0] in CommonSettings.model_fields else f"{cls.section}_"
    return f" (did you mean {(ENV_PREFIX + middle + close[0]).upper()}?)"


def _format_error(error: ValidationError, origins: Mapping[str, str]) -> str:
    first = error.errors(include_input=False)[0]
    field = str(first["loc"][0]) if first["loc"] else "settings"
    return f"{origins.get(field, field)}: {validation_message(first)}"
