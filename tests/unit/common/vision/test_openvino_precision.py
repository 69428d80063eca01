"""Which arithmetic is chosen for which CPU."""

from __future__ import annotations

from typing import Any

import pytest
from facestream.common.vision.openvino_precision import precision_hint


class _Core:
    def __init__(self, able: list[str]) -> None:
        self._able = able

    def get_property(self, device: str, name: str) -> list[str]:
        assert (device, name) == ("CPU", "OPTIMIZATION_CAPABILITIES")
        return self._able


@pytest.mark.parametrize(
    ("asked", "able", "given"),
    [
        ("auto", ["FP32", "INT8", "BF16", "FP16"], "bf16"),
        ("auto", ["FP32", "INT8"], "f32"),
        ("f32", ["FP32", "BF16"], "f32"),
        ("bf16", ["FP32"], "bf16"),
    ],
)
def test_bf16_is_taken_where_the_cpu_multiplies_it_or_where_it_is_asked_for(
    asked: str, able: list[str], given: str
) -> None:
    core: Any = _Core(able)
    assert precision_hint(core, asked) == given
