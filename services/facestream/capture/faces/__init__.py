"""Faces: detection, tracking, crop sampling and pixelation, for all cameras in one thread."""
