"""Redaction of secrets, token files, and the egress policy."""
