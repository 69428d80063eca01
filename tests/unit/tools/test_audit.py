"""The audit of locked packages, against a fake OSV server."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from facestream.common.core.paths import CHECKOUT

REDIS = {"id": "GHSA-1", "aliases": ["CVE-2"], "summary": "reads what it should not\nmore"}


class FakeOsv:
    """State of a fake OSV server: IDs by package in `vulnerable`, descriptions in `known`."""

    def __init__(self) -> None:
        self.url = ""
        self.status = 200
        self.vulnerable: dict[str, list[str]] = {}
        self.known: dict[str, Any] = {}
        self.queries: list[dict[str, Any]] = []
        self.response: Any = None

    def results(self, queries: list[dict[str, Any]]) -> dict[str, Any]:
        """Return one vulnerability per page, so that two need a second query."""
        self.queries += queries
        results = []
        for query in queries:
            ids = self.vulnerable.get(query["package"]["name"], [])
            page = int(query.get("page_token", 0))
            result: dict[str, Any] = {}
            if ids:
                result["vulns"] = [{"id": ids[page], "modified": "2025-01-01T00:00:00Z"}]
            if page + 1 < len(ids):
                result["next_page_token"] = str(page + 1)
            results.append(result)
        return {"results": results}


@pytest.fixture
def source() -> Iterator[FakeOsv]:
    fake = FakeOsv()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert self.path == "/v1/querybatch"
            self.respond(fake.response or fake.results(body["queries"]))

        def do_GET(self) -> None:
            known = fake.known.get(self.path.removeprefix("/v1/vulns/"))
            self.respond(known, fake.status if known else 503)

        def respond(self, body: Any, status: int | None = None) -> None:
            self.send_response(status or fake.status)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        fake.url = f"http://127.0.0.1:{server.server_port}"
        yield fake
        server.shutdown()


def audit(source: str, *flags: str, allowed: Path | None = None) -> tuple[int, str]:
    """Run the audit; return exit code and output."""
    command = [sys.executable, "-m", "tools.audit", "--source", source, *flags]
    command += [] if allowed is None else ["--allowed", str(allowed)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def allowed(folder: Path, **entries: str) -> Path:
    """Write a list with these IDs and their last days."""
    file = folder / "allowed.toml"
    file.write_text(
        "\n".join(
            f'[[allowed]]\nid = "{name.replace("_", "-")}"\nuntil = {until}\nreason = "not used"'
            for name, until in entries.items()
        )
    )
    return file


def test_every_locked_version_is_queried_once(source: FakeOsv) -> None:
    code, output = audit(source.url)
    assert code == 0, output
    pins = {
        pin
        for lock in (CHECKOUT / "requirements").glob("*.txt")
        for pin in re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", lock.read_text(), re.MULTILINE)
    }
    queried = [(query["package"]["name"], query["version"]) for query in source.queries]
    assert sorted(queried) == sorted(pins)
    assert all(query["package"]["ecosystem"] == "PyPI" for query in source.queries)
    assert f"{len(pins)} locked packages: none known" in output


def test_a_known_vulnerability_fails_until_it_is_allowed(source: FakeOsv, tmp_path: Path) -> None:
    source.vulnerable = {"redis": ["GHSA-1", "PYSEC-9"], "numpy": ["GHSA-0"]}
    source.known = {
        "GHSA-1": REDIS,
        "PYSEC-9": {"id": "PYSEC-9", "details": "the same", "aliases": ["CVE-2"]},
        "GHSA-0": {"id": "GHSA-0", "withdrawn": "2025-01-01T00:00:00Z"},
    }
    code, output = audit(source.url)
    assert code == 1
    assert re.search(
        r"^audit: redis==\S+: GHSA-1, CVE-2: reads what it should not$", output, re.MULTILINE
    )
    assert re.search(r"^audit: redis==\S+: PYSEC-9, CVE-2: the same$", output, re.MULTILINE)
    assert "GHSA-0" not in output, "it was withdrawn"

    code, output = audit(source.url, allowed=allowed(tmp_path, GHSA_1="2999-01-01"))
    assert (code, "GHSA-1" in output, "PYSEC-9" in output) == (1, False, True)
    code, output = audit(source.url, allowed=allowed(tmp_path, CVE_2="2999-01-01"))
    assert code == 0, output
    assert "2 known vulnerabilities, all allowed" in output


def test_a_vulnerability_without_description_fails_too(source: FakeOsv) -> None:
    source.vulnerable = {"redis": ["GHSA-1"], "numpy": ["GHSA-3"]}
    source.known = {"GHSA-1": REDIS}  # the other one has no description
    code, output = audit(source.url)
    assert code == 1
    assert "GHSA-1, CVE-2" in output
    assert re.search(r"^audit: numpy==\S+: GHSA-3: no description", output, re.MULTILINE)
    assert "NOT AUDITED" not in output


def test_an_expired_entry_fails_with_or_without_the_source(source: FakeOsv, tmp_path: Path) -> None:
    expired = allowed(tmp_path, GHSA_1="2020-01-31")
    for where in (source.url, "http://127.0.0.1:9"):
        code, output = audit(where, allowed=expired)
        assert code == 1
        assert "audit: allowed until 2020-01-31, review again: GHSA-1" in output


@pytest.mark.parametrize(
    "text",
    [
        '[[allowed]]\nid = "GHSA-1"\nreason = "none"',
        '[[allowed]]\nid = "GHSA-1"\nuntil = "soon"\nreason = "none"',
        '[[allowed]]\nid = "GHSA-1"\nuntil = 2999-01-01\nreason = ""',
        '[[alowed]]\nid = "GHSA-1"\nuntil = 2999-01-01\nreason = "none"',
        "allowed",
    ],
)
def test_a_malformed_list_fails(source: FakeOsv, tmp_path: Path, text: str) -> None:
    file = tmp_path / "allowed.toml"
    file.write_text(text)
    code, output = audit(source.url, allowed=file)
    assert code == 1
    assert f"audit: {file}: " in output


def test_an_unreachable_source_is_reported_and_fails_only_if_strict(
    source: FakeOsv,
) -> None:
    source.status = 503
    for where in (source.url, "http://127.0.0.1:9"):
        code, output = audit(where)
        assert code == 0
        assert f"NOT AUDITED: {where} is unreachable" in output
        assert "none known" not in output
        assert audit(where, "--strict")[0] == 1


@pytest.mark.parametrize("response", [{"results": []}, {"results": [1]}, {"vulns": []}, "fine"])
def test_a_malformed_response_fails(source: FakeOsv, response: object) -> None:
    source.response = response
    code, output = audit(source.url)
    assert code == 1
    assert "Traceback" not in output
    assert output.startswith("audit: http")
