"""Access to Redis: connections, key names, messages, and the accounting of faces."""
