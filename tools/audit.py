"""Fails on a known vulnerability in any locked package that nobody has looked at and allowed.

Usage: `python -m tools.audit [--strict] [--source URL] [--allowed FILE]`, or `make audit`.
The pins of all lock files are asked for in one request to OSV (https://osv.dev, `/v1/querybatch`,
then `/v1/vulns/ID` for what it names). Needs nothing but Python.

`requirements/allowed-vulnerabilities.toml` lists what was judged to be no danger here, each with a
reason and a last day. An entry past its day fails the audit, so that somebody looks again.

Where the source cannot be reached the audit says so loudly and does not fail, since that tells
nothing about the packages; with `--strict` it fails. An answer that it does not understand fails.
"""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from http.client import HTTPException
from pathlib import Path
from typing import Any

from tools.sbom import Package, read_lock

LOCKS = Path(__file__).resolve().parents[1] / "requirements"
SOURCE = "https://api.osv.dev"
ALLOWED = LOCKS / "allowed-vulnerabilities.toml"
TIMEOUT_S = 20.0
MAX_IN_A_QUESTION = 1000  # of the source
MAX_PAGES = 20
_KEYS = {"id", "until", "reason"}


class Unreachable(Exception):
    """The source did not answer."""


class Malformed(Exception):
    """An answer, or the list of what is allowed, is not what it should be."""


@dataclass(frozen=True)
class Finding:
    """A known vulnerability of a locked package. ids: its own first, then what others call it."""

    package: str
    ids: tuple[str, ...]
    summary: str = ""

    def __str__(self) -> str:
        return f"{self.package}: {', '.join(self.ids)}: {self.summary or 'no summary'}"


@dataclass(frozen=True)
class Allowed:
    """A vulnerability that was judged. until: the last day on which that holds."""

    id: str
    until: date
    reason: str


def read_allowed(file: Path) -> list[Allowed]:
    """The entries of the list.

    Raises:
        Malformed: the file is not as its head says.
    """
    try:
        content = tomllib.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise Malformed(f"{file}: {error}") from None
    found = []
    for entry in content.pop("allowed", []):
        wrong = not isinstance(entry, dict) or set(entry) != _KEYS
        if wrong or type(entry["until"]) is not date or not (entry["id"] and entry["reason"]):
            raise Malformed(f"{file}: an entry has id, until (a day) and reason: {entry}")
        found.append(Allowed(str(entry["id"]), entry["until"], str(entry["reason"])))
    if content:
        raise Malformed(f"{file}: unknown key {', '.join(content)}")
    return found


def complaints(findings: Iterable[Finding], allowed: Sequence[Allowed], today: date) -> list[str]:
    """What fails the audit, a line each: findings that are not allowed, entries past their day."""
    in_force = {entry.id for entry in allowed if entry.until >= today}
    past = [f"allowed until {e.until}, look again: {e.id}" for e in allowed if e.until < today]
    return past + [str(found) for found in findings if not in_force & set(found.ids)]


def ask(packages: Sequence[Package], source: str) -> list[Finding]:
    """What the source knows of these versions.

    Raises:
        Unreachable: it does not answer.
        Malformed: its answer is not understood.
    """
    ids: dict[str, dict[str, None]] = {}  # by vulnerability, the packages that have it
    questions = [
        {"package": {"name": p.name, "ecosystem": "PyPI"}, "version": p.version} for p in packages
    ]
    try:
        for start in range(0, len(questions), MAX_IN_A_QUESTION):
            for name, vulnerability in _ids(questions[start : start + MAX_IN_A_QUESTION], source):
                ids.setdefault(vulnerability, {})[name] = None
        return [found for known, names in ids.items() for found in _described(source, known, names)]
    except (KeyError, TypeError, AttributeError) as error:
        raise Malformed(f"{source}: an answer is not as it should be: {error!r}") from None


def _ids(questions: list[dict[str, Any]], source: str) -> Iterable[tuple[str, str]]:
    """Pairs of `name==version` and the id of a vulnerability."""
    for _ in range(MAX_PAGES):
        results = _get(f"{source}/v1/querybatch", {"queries": questions})["results"]
        if len(results) != len(questions):
            raise Malformed(f"{source}: {len(results)} answers to {len(questions)} questions")
        more = []
        for question, result in zip(questions, results, strict=True):
            name = f"{question['package']['name']}=={question['version']}"
            for vulnerability in result.get("vulns", ()):
                yield name, vulnerability["id"]
            if token := result.get("next_page_token"):
                more.append(question | {"page_token": token})
        if not more:
            return
        questions = more
    raise Malformed(f"{source}: its answer has no end")


def _described(source: str, vulnerability: str, names: Iterable[str]) -> Iterable[Finding]:
    """The findings, also where the source told their id and would not tell what it stands for."""
    try:
        return list(_findings(_get(f"{source}/v1/vulns/{vulnerability}"), names))
    except Unreachable as error:
        return [Finding(n, (vulnerability,), f"no more could be learnt: {error}") for n in names]


def _findings(vulnerability: dict[str, Any], names: Iterable[str]) -> Iterable[Finding]:
    if vulnerability.get("withdrawn"):
        return
    ids = (vulnerability["id"], *vulnerability.get("aliases", ()))
    summary = vulnerability.get("summary") or vulnerability.get("details") or ""
    for name in names:
        yield Finding(name, ids, summary.strip().partition("\n")[0])


def _get(url: str, body: dict[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
            return json.loads(answer.read())
    except (OSError, HTTPException) as error:
        raise Unreachable(str(getattr(error, "reason", error)) or type(error).__name__) from None
    except ValueError:
        raise Malformed(f"{url}: what it answers is not JSON") from None


def all_packages() -> list[Package]:
    """Each version in any lock file, once."""
    locked = (package for file in sorted(LOCKS.glob("*.txt")) for package in read_lock(file))
    return list({(package.name, package.version): package for package in locked}.values())


def main(arguments: Sequence[str]) -> int:
    """Audit; returns the exit code."""
    parser = argparse.ArgumentParser(description="audit of the locked packages")
    parser.add_argument("--strict", action="store_true", help="an unreachable source fails too")
    parser.add_argument("--source", default=SOURCE, help="an OSV server (default: %(default)s)")
    parser.add_argument("--allowed", type=Path, default=ALLOWED, help="the list of what is allowed")
    given = parser.parse_args(arguments)
    packages = all_packages()
    unreachable = ""
    findings: list[Finding] = []
    try:
        allowed = read_allowed(given.allowed)
        try:
            findings = ask(packages, given.source.rstrip("/"))
        except Unreachable as error:
            unreachable = str(error)
        wrong = complaints(findings, allowed, datetime.now(UTC).date())
    except Malformed as error:
        wrong = [str(error)]
    if unreachable:
        line = "!" * 78
        print(
            f"{line}\nNOT AUDITED: {given.source} cannot be asked ({unreachable}).\n"
            f"Nothing is known of vulnerabilities of the {len(packages)} locked packages.\n{line}",
            file=sys.stderr,
        )
    for complaint in wrong:
        print(f"audit: {complaint}", file=sys.stderr)
    if wrong or (unreachable and given.strict):
        return 1
    if not unreachable:
        known = f"{len(findings)} known vulnerabilities, all allowed" if findings else "none known"
        print(f"audit: {len(packages)} locked packages: {known}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
