"""Capture service: read cameras, detect and track faces, publish frames and face crops."""
