"""Run `facestream up` with changed environment variables of its processes.

`SOAK_PARTS` holds JSON: process -> variable -> value. It routes connections through the proxy.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from typing import Any

from facestream.cli import main
from facestream.launcher import launcher, process_specs

VARIABLE = "SOAK_PARTS"
_CHANGES: dict[str, dict[str, str]] = json.loads(os.environ.pop(VARIABLE, "{}"))
_plan = process_specs.build_process_specs


def _changed_plan(*arguments: Any, **options: Any) -> list[process_specs.ProcessSpec]:
    return [
        replace(part, environment={**part.environment, **_CHANGES.get(part.name, {})})
        for part in _plan(*arguments, **options)
    ]


if __name__ == "__main__":
    vars(launcher)["build_process_specs"] = _changed_plan
    sys.exit(main())
