"""Development and release tools of the checkout."""
