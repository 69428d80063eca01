"""Install a locked requirements file into this Python's environment, with one line of progress.

Usage: `.venv/bin/python tools/install_locked.py requirements/demo.txt`. Needs only pip.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

_TAIL_LINES = 15
_PINNED = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*==", re.MULTILINE)


def main(file: Path) -> int:
    """Run pip; print the end of its output if it fails."""
    total = len(_PINNED.findall(file.read_text()))
    pip = [sys.executable, "-m", "pip", "install", "--require-hashes", "--no-deps"]
    pip += ["--disable-pip-version-check", "--progress-bar", "off", "--requirement", str(file)]
    process = subprocess.Popen(  # noqa: S603
        pip, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    output: list[str] = []
    done = 0
    for line in process.stdout or ():
        output.append(line)
        if line.startswith(("Collecting ", "Requirement already satisfied")):
            done += 1
            _show(f"installing {done} of {total}: {_name(line)}", last=False)
        elif line.startswith("Installing collected packages"):
            _show(f"installing: unpacking {total} packages", last=False)
    code = process.wait()
    _show("installed" if code == 0 else "installation failed:", last=True)
    if code != 0:
        print("".join(output[-_TAIL_LINES:]), file=sys.stderr)
    return code


def _name(line: str) -> str:
    return line.split(":")[-1].split("==")[0].split()[-1]


def _show(text: str, *, last: bool) -> None:
    if sys.stdout.isatty():
        print(f"\r\033[K{text}", end="\n" if last else "", flush=True)
    elif last or text.startswith("installing:"):
        print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
