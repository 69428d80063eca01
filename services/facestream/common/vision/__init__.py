"""Face detection, image codecs and overlays; imports nothing, so that images stay small."""
