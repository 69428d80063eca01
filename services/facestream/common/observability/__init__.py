"""Health endpoints and the base of all metrics."""
