"""Generate a software bill of materials (SBOM), and the licenses of the runtime dependencies.

Usage: `python -m tools.sbom sbom FOLDER` writes a CycloneDX 1.5 file for each lock file: every
package with version, package URL, license and the hashes that the installation requires.
`python -m tools.sbom licenses` prints the table of `docs/licenses.md`. Licenses are read from the
installed packages, so run it in the environment of `make test`. Needs only Python.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

LOCKS = Path(__file__).resolve().parents[1] / "requirements"
SERVICES = (
    "annotator",
    "capture",
    "database",
    "demo",
    "launcher",
    "model-server",
    "predict",
    "worker",
)
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
# Packages without an SPDX expression, or not for this Python or system: from their license files.
_LICENSES_BY_HAND = {
    "asn1crypto": "MIT",
    "async-timeout": "Apache-2.0",
    "colorama": "BSD-3-Clause",
    "h11": "MIT",
    "hiredis": "MIT",
    "opencv-python-headless": "Apache-2.0",
    "pg8000": "BSD-3-Clause",
    "pillow-heif": "BSD-3-Clause",
    "protobuf": "BSD-3-Clause",
    "pyyaml": "MIT",
    "tqdm": "MPL-2.0 AND MIT",
    "tzdata": "Apache-2.0",
    "uvloop": "MIT OR Apache-2.0",
    "valkey": "MIT",
}


@dataclass(frozen=True)
class Package:
    """A locked package and the SHA-256 of each of its files."""

    name: str
    version: str
    hashes: tuple[str, ...]


def read_lock(file: Path) -> list[Package]:
    """Return the packages of a lock file, in its order."""
    blocks: list[list[str]] = []
    for line in file.read_text().splitlines():
        if _PIN.match(line):
            blocks.append([line])
        elif blocks and line.startswith(" "):
            blocks[-1].append(line)
    found = []
    for block in blocks:
        pin = _PIN.match(block[0])
        assert pin is not None
        found.append(Package(pin[1].lower(), pin[2], tuple(_HASH.findall("\n".join(block)))))
    return found


def license_of(name: str) -> str:
    """Return the SPDX expression of a package, or `unknown`."""
    if name in _LICENSES_BY_HAND:
        return _LICENSES_BY_HAND[name]
    try:
        expression = importlib.metadata.metadata(name)["License-Expression"]
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
    return str(expression) if expression else "unknown"


def bill_of_materials(name: str, packages: list[Package]) -> dict[str, object]:
    """Return a CycloneDX document; deterministic for a lock file."""
    components = []
    for package in packages:
        component: dict[str, object] = {
            "type": "library",
            "bom-ref": f"pkg:pypi/{package.name}@{package.version}",
            "name": package.name,
            "version": package.version,
            "purl": f"pkg:pypi/{package.name}@{package.version}",
            "externalReferences": [
                {
                    "type": "distribution",
                    "url": f"https://pypi.org/project/{package.name}/{package.version}/",
                    "hashes": [{"alg": "SHA-256", "content": digest} for digest in package.hashes],
                }
            ],
        }
        expression = license_of(package.name)
        if expression != "unknown":
            component["licenses"] = [{"expression": expression}]
        components.append(component)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {"type": "application", "bom-ref": name, "name": f"facestream-{name}"}
        },
        "components": components,
    }


def licenses() -> str:
    """Return the table of the services' packages and licenses."""
    names = {package.name for name in SERVICES for package in read_lock(LOCKS / f"{name}.txt")}
    rows = [f"| {name} | {license_of(name)} |" for name in sorted(names)]
    return "\n".join(["| package | license |", "|---|---|", *rows])


def main(arguments: list[str]) -> int:
    """Run a command; return the exit code."""
    match arguments:
        case ["licenses"]:
            print(licenses())
        case ["sbom", folder]:
            Path(folder).mkdir(parents=True, exist_ok=True)
            for lock in sorted(LOCKS.glob("*.txt")):
                document = bill_of_materials(lock.stem, read_lock(lock))
                file = Path(folder) / f"{lock.stem}.cdx.json"
                file.write_text(json.dumps(document, indent=1) + "\n")
                print(file)
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
