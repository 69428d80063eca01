"""Audit the locked packages: fail on a known vulnerability that is not allowed.

Usage: `python -m tools.audit [--strict] [--source URL] [--allowed FILE]`, or `make audit`. One
request to OSV (https://osv.dev, `/v1/querybatch`) has the pins of all lock files; `/v1/vulns/ID`
describes each result. Needs only Python.

`requirements/allowed-vulnerabilities.toml` lists accepted vulnerabilities, each with a reason and
an expiry date. An expired entry fails the audit, so that it is reviewed.

If the source is unreachable, the audit prints `NOT AUDITED` and passes, because that says nothing
about the packages; with `--strict` it fails. A malformed response fails.
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
MAX_QUERIES = 1000  # per request, a limit of OSV
MAX_PAGES = 20
_KEYS = {"id", "until", "reason"}


class UnreachableError(Exception):
    """The source did not respond."""


class MalformedError(Exception):
    """A response or the list of allowed vulnerabilities is malformed."""


@dataclass(frozen=True)
class Finding:
    """A known vulnerability of a locked package; `ids` are its own and its aliases."""

    package: str
    ids: tuple[str, ...]
    summary: str = ""

    def __str__(self) -> str:
        """Return package, IDs and summary in one line."""
        return f"{self.package}: {', '.join(self.ids)}: {self.summary or 'no summary'}"


@dataclass(frozen=True)
class Allowed:
    """An accepted vulnerability; `until` is the last day of that decision."""

    id: str
    until: date
    reason: str


def read_allowed(file: Path) -> list[Allowed]:
    """Return the accepted vulnerabilities of a file.

    Raises:
        MalformedError: the file does not follow the format in its head.
    """
    try:
        content = tomllib.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise MalformedError(f"{file}: {error}") from None
    found = []
    for entry in content.pop("allowed", []):
        is_invalid = not isinstance(entry, dict) or set(entry) != _KEYS
        if is_invalid or type(entry["until"]) is not date or not (entry["id"] and entry["reason"]):
            raise MalformedError(f"{file}: an entry needs id, until (a date) and reason: {entry}")
        found.append(Allowed(str(entry["id"]), entry["until"], str(entry["reason"])))
    if content:
        raise MalformedError(f"{file}: unknown key {', '.join(content)}")
    return found


def failures(findings: Iterable[Finding], allowed: Sequence[Allowed], today: date) -> list[str]:
    """Return the failures, a line each: findings that are not allowed, and expired entries."""
    in_force = {entry.id for entry in allowed if entry.until >= today}
    expired = [f"allowed until {e.until}, review again: {e.id}" for e in allowed if e.until < today]
    return expired + [str(found) for found in findings if not in_force & set(found.ids)]


def query(packages: Sequence[Package], source: str) -> list[Finding]:
    """Return the known vulnerabilities of packages.

    Raises:
        UnreachableError: the source did not respond.
        MalformedError: its response is malformed.
    """
    ids: dict[str, dict[str, None]] = {}  # by vulnerability, the packages that have it
    queries = [
        {"package": {"name": p.name, "ecosystem": "PyPI"}, "version": p.version} for p in packages
    ]
    try:
        for start in range(0, len(queries), MAX_QUERIES):
            for name, vulnerability in _ids(queries[start : start + MAX_QUERIES], source):
                ids.setdefault(vulnerability, {})[name] = None
        return [found for known, names in ids.items() for found in _described(source, known, names)]
    except (KeyError, TypeError, AttributeError) as error:
        raise MalformedError(f"{source}: malformed response: {error!r}") from None


def _ids(queries: list[dict[str, Any]], source: str) -> Iterable[tuple[str, str]]:
    """Yield pairs of `name==version` and the ID of a vulnerability."""
    for _ in range(MAX_PAGES):
        results = _get(f"{source}/v1/querybatch", {"queries": queries})["results"]
        if len(results) != len(queries):
            raise MalformedError(f"{source}: {len(results)} results for {len(queries)} queries")
        more = []
        for query_, result in zip(queries, results, strict=True):
            name = f"{query_['package']['name']}=={query_['version']}"
            for vulnerability in result.get("vulns", ()):
                yield name, vulnerability["id"]
            if token := result.get("next_page_token"):
                more.append(query_ | {"page_token": token})
        if not more:
            return
        queries = more
    raise MalformedError(f"{source}: more than {MAX_PAGES} pages")


def _described(source: str, vulnerability: str, names: Iterable[str]) -> Iterable[Finding]:
    """Return the findings of an ID, also if the source does not describe it."""
    try:
        return list(_findings(_get(f"{source}/v1/vulns/{vulnerability}"), names))
    except UnreachableError as error:
        return [Finding(n, (vulnerability,), f"no description: {error}") for n in names]


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
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310
            return json.loads(response.read())
    except (OSError, HTTPException) as error:
        raise UnreachableError(
            str(getattr(error, "reason", error)) or type(error).__name__
        ) from None
    except ValueError:
        raise MalformedError(f"{url}: response is not JSON") from None


def all_packages() -> list[Package]:
    """Return each version of each lock file once."""
    locked = (package for file in sorted(LOCKS.glob("*.txt")) for package in read_lock(file))
    return list({(package.name, package.version): package for package in locked}.values())


def main(arguments: Sequence[str]) -> int:
    """Run the audit; return the exit code."""
    parser = argparse.ArgumentParser(description="Audit the locked packages.")
    parser.add_argument("--strict", action="store_true", help="fail if the source is unreachable")
    parser.add_argument("--source", default=SOURCE, help="OSV server (default: %(default)s)")
    parser.add_argument(
        "--allowed", type=Path, default=ALLOWED, help="list of accepted vulnerabilities"
    )
    options = parser.parse_args(arguments)
    packages = all_packages()
    unreachable = ""
    findings: list[Finding] = []
    try:
        allowed = read_allowed(options.allowed)
        try:
            findings = query(packages, options.source.rstrip("/"))
        except UnreachableError as error:
            unreachable = str(error)
        failed = failures(findings, allowed, datetime.now(UTC).date())
    except MalformedError as error:
        failed = [str(error)]
    if unreachable:
        rule = "!" * 78
        print(
            f"{rule}\nNOT AUDITED: {options.source} is unreachable ({unreachable}).\n"
            f"The {len(packages)} locked packages were not checked for vulnerabilities.\n{rule}",
            file=sys.stderr,
        )
    for line in failed:
        print(f"audit: {line}", file=sys.stderr)
    if failed or (unreachable and options.strict):
        return 1
    if not unreachable:
        known = f"{len(findings)} known vulnerabilities, all allowed" if findings else "none known"
        print(f"audit: {len(packages)} locked packages: {known}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
