"""Results in, picture out: estimates per track, annotated pictures, the page and its API."""
