"""The `facestream` command: one thin function per subcommand.

Each imports what it runs only when it is run, so that `--help` needs nothing heavy. Errors are one
line on standard error; exit codes: 0 done, 1 could not, 2 asked wrongly. Ctrl-C is how a service is
told to end: 0. Of a command that has an end of its own it leaves the work undone: 1, so that a
script does not go on as if it were done.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from facestream.common.core.errors import FacestreamError, SettingsError
from facestream.common.core.paths import CHECKOUT

if TYPE_CHECKING:
    from facestream.common.cameras.models import Camera
    from facestream.common.core.settings import CommonSettings

_SERVICES = {
    "capture": "camera in, faces out",
    "worker": "faces in, results out",
    "annotator": "results in, picture out: page, streams and API",
    "model-server": "TensorFlow Serving's gRPC API on OpenVINO",
}
_SETTINGS = {
    "capture": "CaptureSettings",
    "worker": "WorkerSettings",
    "annotator": "AnnotatorSettings",
    "model-server": "ModelServerSettings",
}

_OWN_COMMANDS = ("up", "demo-camera", "password", "predict", *_SERVICES)

Run = Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        parser = _parser(_asked(arguments))
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
        if error.name is None or error.name.split(".")[0] in (
            "facestream",
            "training",
            "benchmarks",
        ):
            raise
        print(
            f"facestream: {error.name} is not installed; see requirements/ for what this "
            "command needs",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print("facestream: interrupted", file=sys.stderr)
        return 1


def _asked(arguments: Sequence[str]) -> str:
    """The subcommand, so that only its own flags need be known."""
    return next((argument for argument in arguments if not argument.startswith("-")), "")


def _parser(asked: str) -> argparse.ArgumentParser:
    parser = _Parser(
        prog="facestream",
        description="Age and gender of every face on a live camera picture, and honest counts.",
        epilog="facestream COMMAND --help tells a command's flags.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    _add_up(commands, asked)
    for name, text in _SERVICES.items():
        _add_service(commands, asked, name, text)
    _add_demo_camera(commands)
    _add_password(commands)
    _add_predict(commands, asked)
    _add_training(commands, asked)
    _add_bench(commands, asked)
    return parser


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        from facestream.common.security.redaction import redact

        self.exit(2, f"{self.prog}: {redact(message)}; see {self.prog} --help\n")


Commands = argparse._SubParsersAction  # the only name that argparse has for it


def _add_up(commands: Commands[_Parser], asked: str) -> None:
    text = "everything on this machine, by one command"
    parser = commands.add_parser("up", help=text, description=text[0].upper() + text[1:] + ".")
    parser.set_defaults(run=_up)
    if asked != "up":
        return
    from facestream.common.core.settings import add_flags
    from facestream.launcher.settings import UpSettings

    parser.add_argument(
        "--camera",
        action="append",
        default=[],
        metavar="NAME=URL",
        help="a camera to read; may be repeated; without NAME= it gets a name",
    )
    parser.add_argument("--cameras", type=Path, metavar="FILE", help="YAML file of cameras")
    parser.add_argument("--demo", action="store_true", help="start the demo camera too")
    parser.add_argument("--verbose", action="store_true", help="show what the parts log")
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
    cameras = _cameras(arguments.camera)
    if arguments.cameras is not None:  # capture reads it; here a mistake is told before any start
        check_unique_names([*cameras, *load_cameras(arguments.cameras)])
    return run_service(
        "facestream",
        settings.log_level,
        lambda stop: launcher.serve(
            settings,
            stop,
            cameras,
            demo=arguments.demo,
            config_file=arguments.config,
            cameras_file=arguments.cameras,
        ),
    )


def _add_service(commands: Commands[_Parser], asked: str, name: str, text: str) -> None:
    parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    parser.set_defaults(run=lambda arguments: _service(name, arguments))
    if asked != name:
        return
    from facestream.common.core.settings import add_flags

    if name == "capture":
        parser.add_argument(
            "--camera",
            action="append",
            default=[],
            metavar="NAME=URL",
            help="a camera to read from the start; may be repeated; also FACESTREAM_CAMERAS, "
            "where other users of the machine cannot see it",
        )
    add_flags(parser, _settings_class(name))


def _service(name: str, arguments: argparse.Namespace) -> int:
    from facestream.common.core.process_lifecycle import run_service
    from facestream.common.core.settings import from_arguments

    settings = from_arguments(_settings_class(name), arguments)
    extra = {"cameras": _cameras(arguments.camera)} if name == "capture" else {}
    serve = importlib.import_module(f"facestream.{name.replace('-', '_')}.service").serve
    return run_service(name, settings.log_level, lambda stop: serve(settings, stop, **extra))


def _settings_class(name: str) -> type[CommonSettings]:
    module = importlib.import_module(f"facestream.{name.replace('-', '_')}.settings")
    found: type[CommonSettings] = getattr(module, _SETTINGS[name])
    return found


def _cameras(given: Sequence[str]) -> list[Camera]:
    """Cameras of the flags and of the environment, which is cleared of them.

    Raises:
        SettingsError: one is malformed, or a name stands twice.
    """
    from facestream.common.cameras.models import Camera, check_unique_names
    from facestream.common.core.settings import CAMERAS_ENV

    texts = [*given, *os.environ.pop(CAMERAS_ENV, "").split()]
    cameras = []
    for i, text in enumerate(texts, start=1):
        has_name = "=" in text.partition("://")[0]
        cameras.append(Camera.parse(text if has_name else f"camera{i}={text}"))
    return check_unique_names(cameras)


def _add_demo_camera(commands: Commands[_Parser]) -> None:
    parser = commands.add_parser(
        "demo-camera",
        help="a live RTSP camera made from samples/, or from a file",
        description="A live RTSP camera made from samples/, or from any H.264 file, in a loop.",
    )
    parser.add_argument("--file", type=Path, metavar="MP4", help="an H.264 file to play instead")
    parser.add_argument("--host", default="127.0.0.1", help="address (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=8554, help="0 takes any free (default: 8554)")
    parser.add_argument(
        "--path",
        action="append",
        default=[],
        help="path of the stream; may be repeated (default: demo)",
    )
    parser.add_argument("--user", default="", help="that clients must give")
    parser.add_argument("--password", default="", help="that clients must give")
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

    def say(line: str) -> None:
        with contextlib.suppress(OSError):
            print(line, flush=True)

    return run_service("demo-camera", "info", lambda stop: demo_camera.serve(options, stop, say))


def _add_password(commands: Commands[_Parser]) -> None:
    parser = commands.add_parser(
        "password",
        help="the hash of a password, for the users' file of the page",
        description="Ask for a password and print its hash, for the annotator's --users-file.",
    )
    parser.set_defaults(run=_password)


def _password(arguments: argparse.Namespace) -> int:
    from getpass import getpass

    from facestream.annotator.auth.accounts import (
        MAX_PASSWORD_CHARS,
        MIN_PASSWORD_CHARS,
        hash_password,
    )

    asks = sys.stdin.isatty()
    password = getpass("Password: ") if asks else sys.stdin.readline().rstrip("\n")
    if not MIN_PASSWORD_CHARS <= len(password) <= MAX_PASSWORD_CHARS:
        raise SettingsError(
            f"a password has {MIN_PASSWORD_CHARS} to {MAX_PASSWORD_CHARS} characters"
        )
    if asks and getpass("The same again: ") != password:
        raise SettingsError("the two passwords differ")
    print(hash_password(password))
    return 0


def _add_predict(commands: Commands[_Parser], asked: str) -> None:
    if asked == "predict":
        _add_commands_of("facestream.predict.cli", commands)
    else:  # the package is heavy to import
        commands.add_parser("predict", help="age and gender of the faces in pictures and videos")


def _add_training(commands: Commands[_Parser], asked: str) -> None:
    if asked in _OWN_COMMANDS:
        return
    _import_from_checkout()
    _add_commands_of("training.cli", commands)


def _add_bench(commands: Commands[_Parser], asked: str) -> None:
    """Only where this is a checkout; the installed command finds no folder `tests` by itself."""
    if asked in _OWN_COMMANDS or not (CHECKOUT / "benchmarks" / "cli.py").is_file():
        return
    _import_from_checkout()
    _add_commands_of("benchmarks.cli", commands)


def _import_from_checkout() -> None:
    """Make `training` and `benchmarks` importable: they are part of a checkout, not of the package."""
    if (CHECKOUT / "training" / "cli.py").is_file() and str(CHECKOUT) not in sys.path:
        sys.path.insert(0, str(CHECKOUT))


def _add_commands_of(module: str, commands: Commands[_Parser]) -> None:
    """Have a module add its commands, where it is there."""
    try:
        found = importlib.util.find_spec(module) is not None
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # it is there, but something that it needs is not
        found = False
    if found:
        importlib.import_module(module).add_commands(commands)
