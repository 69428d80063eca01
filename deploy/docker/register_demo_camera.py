"""Register the demo camera through the API once the annotator is up; runs in its own container.

Usage: `python register_demo_camera.py http://annotator:8080 TOKEN_FILE demo rtsp://demo-camera:8554/demo`.
"""

import json
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

_CONFLICT = 409
_TIMEOUT_S = 10.0
_WAIT_S = 60.0  # `docker compose restart` starts this and the annotator at the same time


def register(base_url: str, token_file: str, name: str, url: str) -> None:
    """POST the camera. An existing camera of that name counts as success; other errors exit 1."""
    request = urllib.request.Request(  # noqa: S310  URL of the Compose file
        f"{base_url}/api/cameras",
        json.dumps({"name": name, "url": url}).encode(),
        {
            "Content-Type": "application/json",
            "Authorization": f"Bearer {Path(token_file).read_text().strip()}",
        },
    )
    # Docker may set a proxy in the environment: it must not receive the token.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + _WAIT_S
    while True:
        try:
            with opener.open(request, timeout=_TIMEOUT_S):
                return
        except urllib.error.HTTPError as error:
            detail = error.read().decode(errors="replace")
            if error.code == _CONFLICT and "already" in detail:
                return
            sys.exit(f"{base_url}: {error.code}: {detail}")
        except OSError as error:
            if time.monotonic() > deadline:
                sys.exit(f"{base_url}: {getattr(error, 'reason', error)}")
            time.sleep(1)


if __name__ == "__main__":
    register(*sys.argv[1:])
