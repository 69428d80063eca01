"""Code, web UI and documents use the words of docs/glossary.md and none of the banned ones."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from facestream.common.core.paths import CHECKOUT

# Pattern (lower case, whole words) -> what to write instead.
BANNED = {
    r"told|tells?": "say, report, log, publish or notify",
    r"whoever|somebody|anybody|everybody": "name the actor: client, viewer, person",
    r"(?<![\"'(])nobody": "no one; or name the actor",
    r"is away": "is unavailable",
    r"so (?:many|often)": "a number with its unit",
    r"reckon\w*": "compute, count or estimate",
    r"foretells?|foretold": "predict or regress",
    r"vouch\w*": "sign or confirm",
    r"look(?:s|ed|ing)? at": "read, detect or view",
    r"pictures?": "frame (video), image (still), JPEG (bytes) or crop (face)",
    r"in hand": "in flight",
    r"anew": "again",
    r"of late": "recently",
    r"begun": "started",
    r"harm(?:s|ed)?": "corruption, damage or failure",
    r"keen": "sensitive",
    r"plain way": "baseline",
    r"for ever": "forever",
    r"learnt": "learned or trained on",
    r"(?:colour|neighbour|licence|behaviour|grey)s?|cancelled(?!\()": "American spelling",
}
# File -> why it may hold banned words.
ALLOWED_FILES = {
    "CHANGELOG.md": "names what was renamed",
    "LICENSE": "text of others",
    "NOTICE": "text of others",
    "docs/licenses.md": "generated from the metadata of others' packages",
    "tests/unit/test_vocabulary.py": "lists the banned words",
}
ALLOWED_FOLDERS = {
    "models/age_gender/": "model cards, published with their model",
}
SUFFIXES = {".py", ".js", ".html", ".css", ".md", ".yml", ".yaml", ".toml", ".sh", ".proto"}

_PATTERN = re.compile(r"\b(?:" + "|".join(BANNED) + r")\b")


def checked_files() -> list[str]:
    """Return the tracked text files without the allowed ones."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=CHECKOUT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    return [
        name
        for name in listed
        if (Path(name).suffix in SUFFIXES or name == "Makefile")
        and name not in ALLOWED_FILES
        and not name.startswith(tuple(ALLOWED_FOLDERS))
        and (CHECKOUT / name).is_file()
    ]


def banned_words(text: str) -> list[str]:
    """Return `line: word` of each banned word."""
    text = text.lower()
    return [
        f"{text.count(chr(10), 0, m.start()) + 1}: {m.group()}" for m in _PATTERN.finditer(text)
    ]


def test_no_file_uses_a_banned_word() -> None:
    found = [
        f"{name}:{word}"
        for name in checked_files()
        for word in banned_words((CHECKOUT / name).read_text(encoding="utf-8"))
    ]
    assert not found, "\n".join(found)


def test_a_banned_word_is_found() -> None:
    assert banned_words("A client\nis told so.\n") == ["2: told"]
    assert banned_words("untold, picture_of, anew.") == ["1: anew"]
