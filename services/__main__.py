"""`python -m services`: the same as `facestream`."""

from __future__ import annotations

import sys

from services.cli import main

sys.exit(main())
