"""Annotated video: renders frames and placeholders, and serves them as MJPEG."""
