"""Modules stay small: one of more than 300 lines says in its docstring why."""

from __future__ import annotations

import ast

from facestream.common.core.paths import CHECKOUT

MAX_LINES = 300
REASON = "Longer than 300 lines"
FOLDERS = ("services", "training", "benchmarks", "tools", "examples")


def test_long_modules_give_a_reason() -> None:
    without_reason = []
    for folder in FOLDERS:
        for path in (CHECKOUT / folder).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            if "/pb/" in str(path) or len(text.splitlines()) <= MAX_LINES:
                continue
            if REASON not in (ast.get_docstring(ast.parse(text)) or ""):
                without_reason.append(str(path.relative_to(CHECKOUT)))
    assert not without_reason
