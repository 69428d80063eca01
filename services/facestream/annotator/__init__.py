"""Annotator: joins results to tracks, renders annotated video, counts people, serves the web UI."""
