"""The arithmetic of a network on this CPU."""

from __future__ import annotations

import openvino as ov


def precision_hint(core: ov.Core, precision: str) -> str:
    """OpenVINO's name of the arithmetic: `auto` is bf16 on a CPU that multiplies it, else f32.

    In bf16 a face costs less than half, a search two thirds, and what is said hardly differs
    (`docs/performance.md`). Left alone, OpenVINO would choose the same, but without saying so.
    """
    if precision != "auto":
        return precision
    able: list[str] = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return "bf16" if "BF16" in able else "f32"
