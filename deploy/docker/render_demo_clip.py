"""Render the demo camera's clip into a folder; a step of its image build."""

import sys
from pathlib import Path

from facestream.demo.clip_renderer import ensure_clip

clip = ensure_clip(Path(sys.argv[1]), lambda share: None)
clip.chmod(0o644)
print(f"{clip}: {clip.stat().st_size / 1e6:.1f} MB")
