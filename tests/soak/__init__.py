"""Faults at random, load and long runs against the real processes, and the records of these."""
