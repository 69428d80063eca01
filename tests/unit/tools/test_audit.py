"""The audit of locked packages, against a source of vulnerabilities of our own making."""

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


class Source:
    """Answers as OSV does; `vulnerable` names packages, `known` what there is to be known."""

    def __init__(self) -> None:
        self.url = ""
        self.status = 200
        self.vulnerable: dict[str, list[str]] = {}
        self.known: dict[str, Any] = {}
        self.asked: list[dict[str, Any]] = []
        self.answer: Any = None

    def results(self, queries: list[dict[str, Any]]) -> dict[str, Any]:
        """A page holds one vulnerability, so that what has two needs a second question."""
        self.asked += queries
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
def source() -> Iterator[Source]:
    made = Source()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert self.path == "/v1/querybatch"
            self.say(made.answer or made.results(asked["queries"]))

        def do_GET(self) -> None:
            known = made.known.get(self.path.removeprefix("/v1/vulns/"))
            self.say(known, made.status if known else 503)

        def say(self, what: Any, status: int | None = None) -> None:
            self.send_response(status or made.status)
            self.end_headers()
            self.wfile.write(json.dumps(what).encode())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        made.url = f"http://127.0.0.1:{server.server_port}"
        yield made
        server.shutdown()


def audit(source: str, *flags: str, allowed: Path | None = None) -> tuple[int, str]:
    """Exit code and everything it said."""
    command = [sys.executable, "-m", "tools.audit", "--source", source, *flags]
    command += [] if allowed is None else ["--allowed", str(allowed)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def allowed(folder: Path, **entries: str) -> Path:
    """A list with these ids and their last days."""
    file = folder / "allowed.toml"
    file.write_text(
        "\n".join(
            f'[[allowed]]\nid = "{name.replace("_", "-")}"\nuntil = {until}\nreason = "not used"'
            for name, until in entries.items()
        )
    )
    return file


def test_every_version_of_every_lock_is_asked_for_once(source: Source) -> None:
    code, said = audit(source.url)
    assert code == 0, said
    pins = {
        pin
        for lock in (CHECKOUT / "requirements").glob("*.txt")
        for pin in re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", lock.read_text(), re.MULTILINE)
    }
    asked = [(query["package"]["name"], query["version"]) for query in source.asked]
    assert sorted(asked) == sorted(pins)
    assert all(query["package"]["ecosystem"] == "PyPI" for query in source.asked)
    assert f"{len(pins)} locked packages: none known" in said


def test_a_known_vulnerability_fails_until_it_is_allowed(source: Source, tmp_path: Path) -> None:
    source.vulnerable = {"redis": ["GHSA-1", "PYSEC-9"], "numpy": ["GHSA-0"]}
    source.known = {
        "GHSA-1": REDIS,
        "PYSEC-9": {"id": "PYSEC-9", "details": "the same", "aliases": ["CVE-2"]},
        "GHSA-0": {"id": "GHSA-0", "withdrawn": "2025-01-01T00:00:00Z"},
    }
    code, said = audit(source.url)
    assert code == 1
    assert re.search(
        r"^audit: redis==\S+: GHSA-1, CVE-2: reads what it should not$", said, re.MULTILINE
    )
    assert re.search(r"^audit: redis==\S+: PYSEC-9, CVE-2: the same$", said, re.MULTILINE)
    assert "GHSA-0" not in said, "it was withdrawn"

    code, said = audit(source.url, allowed=allowed(tmp_path, GHSA_1="2999-01-01"))
    assert (code, "GHSA-1" in said, "PYSEC-9" in said) == (1, False, True)
    code, said = audit(source.url, allowed=allowed(tmp_path, CVE_2="2999-01-01"))
    assert code == 0, said
    assert "2 known vulnerabilities, all allowed" in said


def test_what_is_known_by_its_id_alone_fails_too(source: Source) -> None:
    source.vulnerable = {"redis": ["GHSA-1"], "numpy": ["GHSA-3"]}
    source.known = {"GHSA-1": REDIS}  # of the other, the source tells no more for now
    code, said = audit(source.url)
    assert code == 1
    assert "GHSA-1, CVE-2" in said
    assert re.search(r"^audit: numpy==\S+: GHSA-3: no more could be learnt", said, re.MULTILINE)
    assert "NOT AUDITED" not in said


def test_an_entry_past_its_day_fails_wherever_the_audit_runs(
    source: Source, tmp_path: Path
) -> None:
    past = allowed(tmp_path, GHSA_1="2020-01-31")
    for where in (source.url, "http://127.0.0.1:9"):
        code, said = audit(where, allowed=past)
        assert code == 1
        assert "audit: allowed until 2020-01-31, look again: GHSA-1" in said


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
def test_a_list_that_is_not_understood_fails(source: Source, tmp_path: Path, text: str) -> None:
    file = tmp_path / "allowed.toml"
    file.write_text(text)
    code, said = audit(source.url, allowed=file)
    assert code == 1
    assert f"audit: {file}: " in said


def test_a_source_that_cannot_be_asked_is_told_loudly_and_fails_only_if_wanted(
    source: Source,
) -> None:
    source.status = 503
    for where in (source.url, "http://127.0.0.1:9"):
        code, said = audit(where)
        assert code == 0
        assert f"NOT AUDITED: {where} cannot be asked" in said
        assert "none known" not in said
        assert audit(where, "--strict")[0] == 1


@pytest.mark.parametrize("answer", [{"results": []}, {"results": [1]}, {"vulns": []}, "fine"])
def test_an_answer_that_is_not_understood_fails(source: Source, answer: object) -> None:
    source.answer = answer
    code, said = audit(source.url)
    assert code == 1
    assert "Traceback" not in said
    assert said.startswith("audit: http")
