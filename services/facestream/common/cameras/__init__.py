"""Cameras: their models, configuration file, regions, and registry in the broker."""
