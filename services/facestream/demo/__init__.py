"""Serve a demo clip as a live RTSP camera."""
