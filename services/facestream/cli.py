"""The `facestream` command: one thin function per subcommand.

A subcommand imports its code only when it runs, so `--help` loads nothing heavy. Errors are one
line on standard error. Exit codes: 0 success, 1 failure, 2 usage error. Ctrl-C is the normal way to
stop a service: 0. It interrupts every other command: 1, so that a script does not continue.

Longer than 300 lines, so that all subcommands of the package are in one place.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from facestream import __version__
from facestream.common.core.errors import FacestreamError, SettingsError
from facestream.common.core.paths import CHECKOUT

if TYPE_CHECKING:
    from facestream.common.cameras.models import Camera
    from facestream.common.core.settings import CommonSettings

_SERVICES = {
    "capture": "Read cameras and publish face crops",
    "worker": "Run inference on face crops",
    "annotator": "Serve the web UI, the video streams and the API",
    "model-server": "Serve models over TensorFlow Serving's gRPC API, on OpenVINO",
}
_SETTINGS = {
    "capture": "CaptureSettings",
    "worker": "WorkerSettings",
    "annotator": "AnnotatorSettings",
    "model-server": "ModelServerSettings",
}
_PREDICT_HELP = "Estimate age and gender of the faces in images and videos"
_PACKAGED_COMMANDS = ("up", "demo-camera", "hash-password", "predict", *_SERVICES)
# Command to the module that adds it. These modules are not in the installed package.
_CHECKOUT_COMMANDS = {
    "distill-targets": "training.cli",
    "train": "training.cli",
    "evaluate": "training.cli",
    "export": "training.cli",
    "bench": "benchmarks.cli",
}

Run = Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        parser = _build_parser(_find_command(arguments))
        namespace = parser.parse_args(arguments)
        run: Run | None = getattr(namespace, "run", None)
        if run is None:
            parser.print_help()
            return 0
        return run(namespace)
    except FacestreamError as error:
        from facestream.common.security.redaction import redact

        print(f"facestream: {redact(str(error))}", file=sys.stderr)
        return error.exit_code
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package in ("", "facestream", "training", "benchmarks"):
            raise
        print(
            f"facestream: Python module {error.name} is not installed; "
            "install facestream[all], or the file under requirements/ for this command",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print("facestream: interrupted", file=sys.stderr)
        return 1


def _find_command(arguments: Sequence[str]) -> str:
    """Return the subcommand, so that only its own flags need loading."""
    return next((argument for argument in arguments if not argument.startswith("-")), "")


def _build_parser(command: str) -> argparse.ArgumentParser:
    parser = _Parser(
        prog="facestream",
        description="Estimate age and gender of every face on live cameras, and count people.",
        epilog="Run `facestream COMMAND --help` for the flags of a command.",
    )
    parser.add_argument("--version", action="version", version=f"facestream {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    _add_up(commands, command)
    for name, text in _SERVICES.items():
        _add_service(commands, command, name, text)
    _add_demo_camera(commands)
    _add_hash_password(commands)
    _add_predict(commands, command)
    if command not in _PACKAGED_COMMANDS:
        _add_checkout_commands(commands, command)
    return parser


class _Parser(argparse.ArgumentParser):
    """Argument parser that prints a usage error in one line, without passwords."""

    def error(self, message: str) -> NoReturn:
        from facestream.common.security.redaction import redact

        self.exit(2, f"{self.prog}: {redact(message)}; see {self.prog} --help\n")


Commands = argparse._SubParsersAction  # argparse has no public name for this type


def _add_up(commands: Commands[_Parser], command: str) -> None:
    text = "Start all services on this machine"
    parser = commands.add_parser("up", help=text, description=f"{text}.")
    parser.set_defaults(run=_up)
    if command != "up":
        return
    from facestream.common.core.settings import add_flags
    from facestream.launcher.settings import UpSettings

    parser.add_argument(
        "--camera",
        action="append",
        default=[],
        metavar="NAME=URL",
        help="camera to read; may be repeated; without NAME= a name is generated",
    )
    parser.add_argument("--cameras-file", type=Path, metavar="FILE", help="YAML file of cameras")
    parser.add_argument("--demo", action="store_true", help="start the demo camera too")
    parser.add_argument("--verbose", action="store_true", help="show the logs of the services")
    add_flags(parser, UpSettings)


def _up(arguments: argparse.Namespace) -> int:
    from facestream.common.cameras.config_file import load_cameras
    from facestream.common.cameras.models import check_unique_names
    from facestream.common.core.process_lifecycle import run_service
    from facestream.common.core.settings import from_arguments
    from facestream.launcher import launcher
    from facestream.launcher.settings import UpSettings

    if arguments.verbose and arguments.log_level is None:
        arguments.log_level = "info"
    settings = from_arguments(UpSettings, arguments)
    cameras = _collect_cameras(arguments.camera)
    if arguments.cameras_file is not None:  # capture reads it; fail before the start
        check_unique_names([*cameras, *load_cameras(arguments.cameras_file)])
    return run_service(
        "facestream",
        settings.log_level,
        lambda stop: launcher.serve(
            settings,
            stop,
            cameras,
            demo=arguments.demo,
            config_file=arguments.config,
            cameras_file=arguments.cameras_file,
        ),
    )


def _add_service(commands: Commands[_Parser], command: str, name: str, text: str) -> None:
    parser = commands.add_parser(name, help=text, description=f"{text}.")
    parser.set_defaults(run=lambda arguments: _run_service(name, arguments))
    if command != name:
        return
    from facestream.common.core.settings import add_flags

    if name == "capture":
        parser.add_argument(
            "--camera",
            action="append",
            default=[],
            metavar="NAME=URL",
            help="camera to read at start-up; may be repeated; FACESTREAM_CAMERAS takes the same "
            "and hides passwords from other users of this machine",
        )
    add_flags(parser, _settings_class(name))


def _run_service(name: str, arguments: argparse.Namespace) -> int:
    from facestream.common.core.process_lifecycle import run_service
    from facestream.common.core.settings import from_arguments

    settings = from_arguments(_settings_class(name), arguments)
    extra = {"cameras": _collect_cameras(arguments.camera)} if name == "capture" else {}
    serve = importlib.import_module(f"facestream.{name.replace('-', '_')}.service").serve
    return run_service(name, settings.log_level, lambda stop: serve(settings, stop, **extra))


def _settings_class(name: str) -> type[CommonSettings]:
    module = importlib.import_module(f"facestream.{name.replace('-', '_')}.settings")
    settings_class: type[CommonSettings] = getattr(module, _SETTINGS[name])
    return settings_class


def _collect_cameras(flags: Sequence[str]) -> list[Camera]:
    """Return the cameras of the flags and of FACESTREAM_CAMERAS, which is removed.

    Child processes inherit the environment, and only capture may have the passwords.

    Raises:
        SettingsError: a camera is malformed, or two have one name.
    """
    from facestream.common.cameras.models import Camera, check_unique_names
    from facestream.common.core.settings import CAMERAS_ENV

    texts = [*flags, *os.environ.pop(CAMERAS_ENV, "").split()]
    cameras = []
    for i, text in enumerate(texts, start=1):
        has_name = "=" in text.partition("://")[0]
        cameras.append(Camera.parse(text if has_name else f"camera{i}={text}"))
    return check_unique_names(cameras)


def _add_demo_camera(commands: Commands[_Parser]) -> None:
    parser = commands.add_parser(
        "demo-camera",
        help="Serve a demo clip or a file as a live RTSP camera",
        description="Serve a clip rendered from sample photos, or any H.264 file, as a live RTSP "
        "camera that plays in a loop.",
    )
    parser.add_argument(
        "--file", type=Path, metavar="MP4", help="H.264 file to play instead of the clip"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=8554, help="0 = any free port (default: 8554)")
    parser.add_argument(
        "--path",
        action="append",
        default=[],
        help="path of the stream; may be repeated (default: demo)",
    )
    parser.add_argument("--user", default="", help="user name that clients must send")
    parser.add_argument("--password", default="", help="password that clients must send")
    parser.set_defaults(run=_demo_camera)


def _demo_camera(arguments: argparse.Namespace) -> int:
    from facestream.common.core.process_lifecycle import run_service
    from facestream.demo import demo_camera

    if not 0 <= arguments.port <= 65535:
        raise SettingsError(f"--port {arguments.port}: must be 0 to 65535")
    options = demo_camera.DemoCameraOptions(
        file=arguments.file,
        host=arguments.host,
        port=arguments.port,
        paths=tuple(arguments.path) or ("demo",),
        user=arguments.user,
        password=arguments.password,
    )

    def print_line(line: str) -> None:
        with contextlib.suppress(OSError):  # the terminal is closed
            print(line, flush=True)

    return run_service(
        "demo-camera", "info", lambda stop: demo_camera.serve(options, stop, print_line)
    )


def _add_hash_password(commands: Commands[_Parser]) -> None:
    parser = commands.add_parser(
        "hash-password",
        help="Hash a password for the annotator's users file",
        description="Read a password and print its hash, for the annotator's --users-file.",
    )
    parser.set_defaults(run=_hash_password)


def _hash_password(arguments: argparse.Namespace) -> int:
    from getpass import getpass

    from facestream.annotator.auth.accounts import (
        MAX_PASSWORD_CHARS,
        MIN_PASSWORD_CHARS,
        hash_password,
    )

    is_interactive = sys.stdin.isatty()
    password = getpass("Password: ") if is_interactive else sys.stdin.readline().rstrip("\n")
    if not MIN_PASSWORD_CHARS <= len(password) <= MAX_PASSWORD_CHARS:
        raise SettingsError(
            f"the password must have {MIN_PASSWORD_CHARS} to {MAX_PASSWORD_CHARS} characters"
        )
    if is_interactive and getpass("Repeat password: ") != password:
        raise SettingsError("the passwords differ")
    print(hash_password(password))
    return 0


def _add_predict(commands: Commands[_Parser], command: str) -> None:
    if command == "predict":
        importlib.import_module("facestream.predict.cli").add_commands(commands)
    else:  # importing the package is slow
        commands.add_parser("predict", help=_PREDICT_HELP)


def _add_checkout_commands(commands: Commands[_Parser], command: str) -> None:
    """Add the training and benchmark commands, which only a source checkout has.

    Raises:
        SettingsError: `command` is one of them and this is an installed package.
    """
    if not (CHECKOUT / "training" / "cli.py").is_file():
        if command in _CHECKOUT_COMMANDS:
            raise SettingsError(f"{command} needs a source checkout; the package does not have it")
        return
    if str(CHECKOUT) not in sys.path:  # an editable installation has only services/ on the path
        sys.path.insert(0, str(CHECKOUT))
    for module in dict.fromkeys(_CHECKOUT_COMMANDS.values()):
        importlib.import_module(module).add_commands(commands)
