"""Keys of phones that serve as cameras: each key is a random token in the phone's pairing link.

A phone's camera has the URL `phone:KEY`. A client with this key may upload frames for this camera
and do nothing else.
"""

from __future__ import annotations

import secrets

from facestream.common.cameras.models import PHONE_SCHEME, Camera

_KEY_BYTES = 24


def new_phone_url() -> str:
    """Return the URL of a new phone camera, with a new random key."""
    return f"{PHONE_SCHEME}:{secrets.token_urlsafe(_KEY_BYTES)}"


def phone_key_of(camera: Camera) -> str | None:
    """Return the key of a phone camera; None for any other camera."""
    return camera.url.get_secret_value().partition(":")[2] if camera.is_phone else None
