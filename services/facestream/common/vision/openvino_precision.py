"""Numeric precision of OpenVINO inference on this CPU: bf16 or f32."""

from __future__ import annotations

from facestream.common.vision.openvino_runtime import ov


def precision_hint(core: ov.Core, precision: str) -> str:
    """Return OpenVINO's name of a precision; `auto` is bf16 if the CPU supports it, else f32.

    With bf16 a face costs less than half and a detection two thirds; the predictions hardly differ
    (`docs/performance.md`). OpenVINO's own default would choose the same, but would not report it.
    """
    if precision != "auto":
        return precision
    capabilities: list[str] = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return "bf16" if "BF16" in capabilities else "f32"
