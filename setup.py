"""Build hook: copy the models and the sample images into the wheel, under `facestream/bundled`.

Everything else about the package is in pyproject.toml. An editable installation copies nothing: it
reads `models/` and `samples/` of the checkout.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent


class BuildWithAssets(build_py):
    """Build step that adds the face detector, the newest age and gender model, and the samples."""

    def run(self) -> None:
        """Build the Python files, then copy the assets."""
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / "facestream" / "bundled"
        shutil.rmtree(target, ignore_errors=True)
        versions = [v for v in (ROOT / "models" / "age_gender").iterdir() if v.name.isdigit()]
        newest = max(versions, key=lambda version: int(version.name))
        for source in (ROOT / "models" / "face_detector", newest, ROOT / "samples"):
            shutil.copytree(source, target / source.relative_to(ROOT))


setup(cmdclass={"build_py": BuildWithAssets})
