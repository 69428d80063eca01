"""Tell the running stack of the demo camera, once it answers; runs in a container beside it.

Usage: `python register_demo_camera.py http://annotator:8080 TOKEN_FILE demo rtsp://demo-camera:8554/demo`.
"""

import json
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

_ALREADY_THERE = 409
_TIMEOUT_S = 10.0
_WAIT_S = 60.0  # `docker compose restart` starts this and the annotator at the same time


def add(page: str, token_file: str, name: str, url: str) -> None:
    """POST a camera; one of that name that is there already is as good; else exit 1."""
    request = urllib.request.Request(  # noqa: S310  an address of the compose file
        f"{page}/api/cameras",
        json.dumps({"name": name, "url": url}).encode(),
        {
            "Content-Type": "application/json",
            "Authorization": f"Bearer {Path(token_file).read_text().strip()}",
        },
    )
    # Docker may give containers a proxy by their environment: it must not be handed the token.
    directly = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + _WAIT_S
    while True:
        try:
            with directly.open(request, timeout=_TIMEOUT_S):
                return
        except urllib.error.HTTPError as error:
            detail = error.read().decode(errors="replace")
            if error.code == _ALREADY_THERE and "already" in detail:
                return
            sys.exit(f"{page}: {error.code}: {detail}")
        except OSError as error:
            if time.monotonic() > deadline:
                sys.exit(f"{page}: {getattr(error, 'reason', error)}")
            time.sleep(1)


if __name__ == "__main__":
    add(*sys.argv[1:])
