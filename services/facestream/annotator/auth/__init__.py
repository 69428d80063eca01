"""Authentication: accounts, sessions, login rate limit and request security."""
