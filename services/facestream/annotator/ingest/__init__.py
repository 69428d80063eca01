"""Reads frames and results from Redis streams into the live state."""
