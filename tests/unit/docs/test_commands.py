"""Commands, settings, metrics, paths and links in the documents exist. Nothing is executed."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest
import yaml
from facestream import cli
from facestream.common.core.paths import CHECKOUT
from facestream.common.core.settings import ENV_PREFIX, CommonSettings
from prometheus_client import CollectorRegistry

from tools.make_docs import METRICS, SETTINGS

# The changelog names what no longer exists; its links are checked.
HISTORY = CHECKOUT / "CHANGELOG.md"
DOCUMENTS = sorted(
    {
        CHECKOUT / "README.md",
        CHECKOUT / "CONTRIBUTING.md",
        CHECKOUT / "SECURITY.md",
        CHECKOUT / "samples" / "README.md",
        CHECKOUT / "training" / "README.md",
        *(CHECKOUT / "docs").rglob("*.md"),
    }
)
ROOTS = ("services", "deploy", "tests", "docs", "benchmarks", "tools", "examples", "proto")
NOT_SETTINGS = {"CONFIG", "CAMERAS"}
COMPOSE_FILES = ("docker-compose.yml", "compose.openvino.yml", "compose.gpu.yml")
COMPOSE_VERBS = {"exec", "run", "logs", "restart", "stop", "start", "cp"}
OPTIONS_WITH_VALUE = {"-e", "-c", "--scale", "--tail"}


def name_of(path: Path) -> str:
    return str(path.relative_to(CHECKOUT))


def code(path: Path) -> Iterator[str]:
    """Yield each inline code span and each line of each code block."""
    text = path.read_text().replace("\\\n", " ")
    fenced = re.findall(r"^ *```[a-z]*\n(.*?)^ *```", text, re.M | re.S)
    text = re.sub(r"^ *```.*?^ *```", "", text, flags=re.M | re.S)
    for block in fenced:
        yield from block.splitlines()
    yield from re.findall(r"(?m)^ {4,}(\S.*)$", text)
    yield from re.findall(r"`([^`\n]+)`", text)


def commands(path: Path, program: str) -> Iterator[list[str]]:
    """Yield the arguments of each call of a program, without comments and redirections."""
    start = re.compile(rf"(?:^|[\s;&|(`])(?:\.venv/bin/|%h/\S*/bin/)?{program}(?= )(.*)")
    for line in (line for line in code(path) if not line.startswith("from ")):
        for part in re.split(r"&&|\|\||;|\||<", line):
            if match := start.search(part.split(" # ")[0].split("   #")[0]):
                try:
                    yield shlex.split(match[1].replace("…", ""))
                except ValueError:
                    yield match[1].split()


@lru_cache
def options_of(command: str) -> frozenset[str]:
    """Return the flags of a facestream command; of `facestream` itself for an empty one."""
    parser = cli._build_parser(command)
    if command.startswith("-") or not command:
        return frozenset(option for action in parser._actions for option in action.option_strings)
    (group,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    assert command in group.choices, f"no command {command}"
    return frozenset(o for action in group.choices[command]._actions for o in action.option_strings)


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_every_facestream_command_and_flag_exists(path: Path) -> None:
    for arguments in commands(path, "facestream"):
        if not arguments or not re.fullmatch(r"[a-z-]+", arguments[0]):
            continue  # a placeholder
        known = options_of(arguments[0])
        flags = {a.partition("=")[0] for a in arguments if re.match(r"--[a-z]", a)}
        assert flags <= known | {"--help"}, f"{arguments}: {flags - known}"


def makefile() -> tuple[set[str], set[str]]:
    """Return the targets and the variables of the Makefile."""
    text = (CHECKOUT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z][a-z-]*):", text, re.M))
    return targets, set(re.findall(r"\$\((?:if \$\()?([A-Z_]+)", text))


def compose_variables() -> set[str]:
    texts = [(CHECKOUT / name).read_text() for name in COMPOSE_FILES]
    return {v for text in texts for v in re.findall(r"\$\{([A-Z_]+)", text)}


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_every_make_target_and_variable_exists(path: Path) -> None:
    targets, variables = makefile()
    variables |= compose_variables() | {"CAMERA"}
    for arguments in commands(path, "make"):
        for argument in arguments:
            name, is_variable, _ = argument.partition("=")
            if is_variable:
                assert name in variables or name in setting_variables(), arguments
            elif re.fullmatch(r"[a-z-]+", argument):
                assert argument in targets, arguments


def services() -> set[str]:
    found: set[str] = set()
    for name in COMPOSE_FILES:
        text = re.sub(r"!override\b", "", (CHECKOUT / name).read_text())
        found |= set(yaml.safe_load(text)["services"])
    return found


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_every_compose_service_exists(path: Path) -> None:
    known = services()
    for arguments in commands(path, "docker compose"):
        verb = next((a for a in arguments if a in COMPOSE_VERBS), None)
        if verb is None:
            continue
        rest = iter(arguments[arguments.index(verb) + 1 :])
        named = []
        for argument in rest:
            if argument in OPTIONS_WITH_VALUE:
                next(rest, None)
            elif not argument.startswith("-"):
                named.append(argument)
        if verb == "cp":
            named = [argument.partition(":")[0] for argument in named if ":" in argument]
        elif verb in ("exec", "run"):
            named = named[:1]
        assert set(named) <= known, arguments


@lru_cache
def setting_variables() -> frozenset[str]:
    own = {f"{s.section}_{name}".upper() for s in SETTINGS for name in s.model_fields}
    shared = {name.upper() for name in CommonSettings.model_fields}
    return frozenset(ENV_PREFIX + name for name in own | shared | NOT_SETTINGS)


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_every_variable_is_a_setting(path: Path) -> None:
    named = set(re.findall(r"\bFACESTREAM_[A-Z][A-Z_]*[A-Z]\b", path.read_text()))
    assert named <= setting_variables(), named - setting_variables()


@lru_cache
def metric_names() -> frozenset[str]:
    names = set()
    for metrics_class in METRICS:
        registry = CollectorRegistry()
        metrics_class(registry)
        for family in registry.collect():
            names.add(family.name + ("_total" if family.type == "counter" else ""))
    return frozenset(names)


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_every_metric_exists(path: Path) -> None:
    named = set(
        re.findall(
            r"\bfacestream_(?:capture|worker|model_server|annotator)_[a-z_]*[a-z]\b",
            path.read_text(),
        )
    )
    assert named <= metric_names(), named - metric_names()


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_every_path_exists(path: Path) -> None:
    pattern = rf"`((?:{'|'.join(ROOTS)})/[\w./-]*[\w/])`"
    for named in re.findall(pattern, path.read_text()):
        is_generated = named.startswith("deploy/secrets")
        assert is_generated or (CHECKOUT / named).exists(), named
    for module in re.findall(
        r"python -m ((?:tools|tests|benchmarks|deploy)\.[\w.]+)", path.read_text()
    ):
        file = CHECKOUT / module.replace(".", "/")
        assert file.with_suffix(".py").exists() or (file / "__main__.py").exists(), module


def routes() -> str:
    """Return the API routes in the source, one per line."""
    source = CHECKOUT / "services" / "facestream" / "annotator"
    texts = [path.read_text() for path in source.rglob("*.py")]
    return "\n".join(r for text in texts for r in re.findall(r'"(/[a-z][^"\s]*)"', text))


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_every_api_path_exists(path: Path) -> None:
    known = routes()
    for named in set(re.findall(r"(?<![\w.])/api/[a-z][\w/.-]*[a-z]", path.read_text())):
        pattern = re.sub(r"(?<=/cameras/)\w+", r"{name}", named)
        assert re.search(rf"^{re.escape(pattern)}$", known, re.M) or named == "/api/webhook", named


def anchors(path: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    text = re.sub(r"^ *```.*?^ *```", "", path.read_text(), flags=re.M | re.S)
    titles = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", [*DOCUMENTS, HISTORY], ids=name_of)
def test_every_relative_link_and_anchor_exists(path: Path) -> None:
    text = re.sub(r"^ *```.*?^ *```", "", path.read_text(), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        found = (path.parent / file).resolve() if file else path
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), target


def test_every_panel_and_label_in_italics_exists() -> None:
    static = CHECKOUT / "services/facestream/annotator/api/static"
    files = [
        *(CHECKOUT / "deploy/grafana").glob("*.py"),
        *static.glob("*.html"),
        *static.glob("*.js"),
    ]
    shown = "".join(file.read_text() for file in files)
    for page in ("operations.md", "troubleshooting.md", "first-hour.md"):
        text = (CHECKOUT / "docs" / page).read_text()
        for label in re.findall(r"(?<![*\w])\*([A-Z][^*\n]+)\*(?!\*)", text):
            assert label in shown or label in {"Never", "Alerting"}, f"{page}: {label}"


def test_every_document_is_in_the_index() -> None:
    index = (CHECKOUT / "docs" / "README.md").read_text()
    for path in (CHECKOUT / "docs").glob("*.md"):
        assert path.name == "README.md" or f"({path.name})" in index, path.name


def test_every_alert_is_explained() -> None:
    rules = yaml.safe_load((CHECKOUT / "deploy/prometheus/rules/alerts.yml").read_text())
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"]}
    page = (CHECKOUT / "docs" / "operations.md").read_text()
    rows = [row for row in page.splitlines() if re.match(r"\| [A-Z][a-z]+[A-Z]", row)]
    explained = {name for row in rows for name in re.findall(r"\b[A-Z]\w+", row.split("|")[1])}
    assert explained == alerts


def test_the_readme_is_short() -> None:
    assert len((CHECKOUT / "README.md").read_text().splitlines()) <= 130
