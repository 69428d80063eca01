"""Soak tests of the real processes: random faults, load and long runs, and their records."""
