"""Build a release into a folder: wheel, source archive, bills of materials, checksums and images.

Usage: `python -m tools.release dist` (`make release`). The build uses the locked tools of this
environment and no network. Images are built where a Docker daemon is reachable, tagged
`facestream/<service>:<version>`. Nothing is uploaded: docs/release.md lists the upload commands.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from facestream import __version__

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ("capture", "worker", "annotator", "model-server", "demo-camera")
MAX_WHEEL_BYTES = 20 * 1024 * 1024
CHECKSUMS_NAME = "SHA256SUMS"


def main(arguments: Sequence[str]) -> int:
    """Build everything into the folder `arguments[0]`, which is emptied first."""
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    output = Path(arguments[0]).resolve()
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    build_distributions(output)
    _run(sys.executable, "-m", "tools.sbom", "sbom", str(output / "sbom"))
    write_checksums(output)
    if _has_docker():
        build_images()
    else:
        print("no Docker daemon is reachable: images are not built")
    for file in sorted(output.iterdir()):
        size = f"{file.stat().st_size / 1e6:.1f} MB" if file.is_file() else "folder"
        print(f"{file.relative_to(output.parent)}: {size}")
    return 0


def build_distributions(output: Path) -> None:
    """Build the wheel and the source archive.

    Raises:
        ValueError: the wheel is larger than `MAX_WHEEL_BYTES`.
    """
    # Leftovers of an earlier build would get into the wheel.
    shutil.rmtree(ROOT / "build", ignore_errors=True)
    epoch = _run("git", "log", "-1", "--format=%ct", capture=True).strip()
    environment = {**os.environ, "SOURCE_DATE_EPOCH": epoch}
    _run(
        *(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(output), str(ROOT)),
        environment=environment,
    )
    (wheel,) = output.glob("*.whl")
    if wheel.stat().st_size > MAX_WHEEL_BYTES:
        raise ValueError(f"{wheel.name} is larger than {MAX_WHEEL_BYTES} bytes")


def write_checksums(output: Path) -> None:
    """Write the SHA-256 of every file below the folder, in the format of `sha256sum --check`."""
    files = sorted(file for file in output.rglob("*") if file.is_file())
    lines = [
        f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.relative_to(output)}\n"
        for file in files
    ]
    (output / CHECKSUMS_NAME).write_text("".join(lines))


def build_images() -> None:
    """Build every image with the version and the commit as labels."""
    commit = _run("git", "rev-parse", "HEAD", capture=True).strip()
    labels = {"version": __version__, "revision": commit, "licenses": "Apache-2.0"}
    flags = [f"--label=org.opencontainers.image.{key}={value}" for key, value in labels.items()]
    for image in IMAGES:
        _run(
            *("docker", "build", "--file", "deploy/docker/Dockerfile", "--target", image, *flags),
            *("--label", f"org.opencontainers.image.title=facestream/{image}"),
            *("--tag", f"facestream/{image}:{__version__}", "."),
        )


def _has_docker() -> bool:
    if shutil.which("docker") is None:
        return False
    command = ["docker", "info", "--format", "{{.ServerVersion}}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    return done.returncode == 0 and bool(done.stdout.strip())


def _run(*command: str, environment: dict[str, str] | None = None, capture: bool = False) -> str:
    done = subprocess.run(  # noqa: S603
        command,
        cwd=ROOT,
        env=environment,
        check=True,
        text=True,
        stdout=subprocess.PIPE if capture else None,
    )
    return done.stdout or ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
