"""Import OpenVINO with its telemetry disabled; every module imports OpenVINO from here.

`import openvino` sends an event to Google Analytics and writes an ID to `~/intel` wherever the
package `openvino_telemetry` can be imported. The lock files leave that package out, but pip
installs it as a dependency of `openvino`. A module entry of None makes its import fail; OpenVINO
then uses a built-in stub that sends nothing.
"""

from __future__ import annotations

import sys

sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

import openvino as ov  # noqa: E402
from openvino import opset13 as ops  # noqa: E402

__all__ = ["ops", "ov"]
