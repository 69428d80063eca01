"""Basics of every program: errors, settings, configuration files, process lifecycle."""
