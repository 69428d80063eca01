"""Benchmark of the pipeline against a baseline on one clip and machine (`facestream bench`)."""
