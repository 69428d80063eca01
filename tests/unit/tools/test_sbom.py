"""Lock files, SBOM and licenses are consistent."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from facestream.common.core.paths import CHECKOUT

LOCKS = sorted((CHECKOUT / "requirements").glob("*.txt"))
# May be used and passed on with a program of any license; MPL-2.0 asks it of its own files alone.
ALLOWED = {
    *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "MIT", "MIT-0"),
    "MIT-CMU",  # the license of Pillow
    *("MPL-2.0", "PSF-2.0", "Zlib"),
}


def run(*arguments: str) -> str:
    command = [sys.executable, "-m", "tools.sbom", *arguments]
    return subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True, text=True).stdout


def test_every_package_is_locked_with_hashes_and_without_an_index() -> None:
    for lock in LOCKS:
        text = lock.read_text()
        assert "://" not in text, lock
        pins = re.findall(r"^[A-Za-z0-9._-]+==", text, re.MULTILINE)
        others = re.findall(r"^[^\s#].*", text, re.MULTILINE)
        assert len(pins) == len(others) > 0, lock


def test_the_sbom_has_every_locked_package(tmp_path: Path) -> None:
    run("sbom", str(tmp_path))
    for lock in LOCKS:
        document = json.loads((tmp_path / f"{lock.stem}.cdx.json").read_text())
        assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.5")
        components = document["components"]
        pins = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", lock.read_text(), re.MULTILINE)
        assert [(c["name"], c["version"]) for c in components] == pins
        assert all(c["externalReferences"][0]["hashes"] for c in components)
        references = [c["bom-ref"] for c in components]
        assert len(set(references)) == len(references)


def test_the_license_table_is_current_and_permissive() -> None:
    table = run("licenses")
    assert table.strip() in (CHECKOUT / "docs" / "licenses.md").read_text(), (
        "docs/licenses.md is old: see its head"
    )
    for row in table.splitlines()[2:]:
        _, name, expression, _ = (part.strip() for part in row.split("|"))
        assert set(re.split(r" AND | OR |[()]", expression)) - {""} <= ALLOWED, name
