"""Invalid configurations of a run."""

from __future__ import annotations

from pathlib import Path

import pytest
from facestream.common.core.errors import SettingsError

from training.config import load_config


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("fit: {stages: []}", "fit.stages"),
        ("network: {heads: []}\nfit: {stages: [{epochs: 1, size_px: 64}]}", "network.heads"),
    ],
)
def test_an_empty_list_is_a_one_line_error(tmp_path: Path, text: str, where: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(SettingsError, match=rf"{where}: .*at least 1 item"):
        load_config(tmp_path / "c.yaml")
