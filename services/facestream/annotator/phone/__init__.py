"""Phones as cameras by their browser: the link, who may send, and what is done with a picture."""
