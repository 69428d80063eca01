"""HTTP API: application, routes, server-sent events and the static files of the web UI."""
