"""Inference precision by the capabilities of the CPU."""

from __future__ import annotations

from typing import Any

import pytest
from facestream.common.vision.openvino_precision import precision_hint


class _Core:
    def __init__(self, capabilities: list[str]) -> None:
        self._capabilities = capabilities

    def get_property(self, device: str, name: str) -> list[str]:
        assert (device, name) == ("CPU", "OPTIMIZATION_CAPABILITIES")
        return self._capabilities


@pytest.mark.parametrize(
    ("setting", "capabilities", "expected"),
    [
        ("auto", ["FP32", "INT8", "BF16", "FP16"], "bf16"),
        ("auto", ["FP32", "INT8"], "f32"),
        ("f32", ["FP32", "BF16"], "f32"),
        ("bf16", ["FP32"], "bf16"),
    ],
)
def test_auto_is_bf16_if_the_cpu_supports_it_and_an_explicit_setting_wins(
    setting: str, capabilities: list[str], expected: str
) -> None:
    core: Any = _Core(capabilities)
    assert precision_hint(core, setting) == expected
