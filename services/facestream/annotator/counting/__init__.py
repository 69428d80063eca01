"""Tracks in, people out: visits, zones and lines, kept counts, and who is told of them."""
