"""Ownership of cameras: the persisted list, the registry, leases and their assignment."""
