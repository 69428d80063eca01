"""Run `python -m facestream`: the same as `facestream`."""

from __future__ import annotations

import sys

from facestream.cli import main

sys.exit(main())
