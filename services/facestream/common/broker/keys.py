"""The names and bounds of everything in the broker: keys, groups, caps. Pure.

A camera's keys share a hash tag `{camera}`, so in a Redis Cluster they live on one node; faces are
spread over shards by camera. Every stream and list has an exact cap, those with pictures a time to
live too, and every other key a time to live or a bounded number.
"""

from __future__ import annotations

import zlib

PREFIX = "facestream"

CAMERAS_KEY = f"{PREFIX}:cameras"  # hash: camera name -> Camera as JSON; what should be read
# Set by the first capture to see an empty broker; gone = restarted. In a Redis Cluster it lies, as
# does the next one, where the cameras lie, and is lost with them.
EPOCH_KEY = f"{{{CAMERAS_KEY}}}:epoch"
DEAD_LETTER_KEY = f"{PREFIX}:dead-letters"  # stream of DeadLetter
# hash: camera of a file or command line -> digest of what stands there
CONFIGURED_KEY = f"{{{CAMERAS_KEY}}}:configured"
REPLICAS_KEY = f"{PREFIX}:{{capture}}:replicas"  # hash: capture replica -> end of its lease
LEASES_KEY = f"{PREFIX}:{{capture}}:leases"  # hash: camera -> the replica that reads it
WORKER_GROUP = "workers"

# Stream entry fields.
MESSAGE_FIELD = b"m"
JPEG_FIELD = b"jpeg"

# Exact caps, in entries. Frames carry pictures of ~100 kB and go stale at once.
FRAMES_CAP = 8
RESULTS_CAP = 256
FACES_CAP = 256  # per shard
DEAD_LETTERS_CAP = 1000
PHONE_CAP = 4

CROP_PX = 128  # side of a face crop: what the exported networks take

# How long pictures of people may lie in the broker when nobody takes them away.
# Frames: readers are at the newest one, and the cap holds not two seconds of them; a camera that
# has been silent for longer has nothing to show.
FRAMES_TTL_S = 5.0
# Faces: no shorter than the longest deadline that a worker can be given, so that none is taken away
# that could still be answered. Capture takes away older ones and counts them; the time to live is
# for a capture that is gone and cannot, and longer, so that one that lives is always first.
FACES_RETENTION_S = 60.0
FACES_TTL_S = 90.0
PHONE_TTL_S = 2.0  # pictures of a phone that nobody reads
STATUS_TTL_S = 10.0  # a camera's status is rewritten every second by who reads it
WATCHED_TTL_S = 3.0
MAX_CAMERAS = 256
DEFAULT_SHARDS = 1


def frames_key(camera: str) -> str:
    """Stream of Frame: capture → annotator."""
    return f"{PREFIX}:frames:{{{camera}}}"


def results_key(camera: str) -> str:
    """Stream of Result: worker → annotator."""
    return f"{PREFIX}:results:{{{camera}}}"


def status_key(camera: str) -> str:
    """String: CameraStatus as JSON, with a time to live."""
    return f"{PREFIX}:status:{{{camera}}}"


def watched_key(camera: str) -> str:
    """String with a time to live: exists while somebody looks at the camera's picture."""
    return f"{PREFIX}:watched:{{{camera}}}"


def phone_frames_key(camera: str) -> str:
    """List of JPEGs: a phone's browser → annotator → capture."""
    return f"{PREFIX}:phone-frames:{{{camera}}}"


def faces_key(shard: int) -> str:
    """Stream of FaceCrop: capture → workers."""
    return f"{PREFIX}:faces:{{{shard}}}"


def accounting_key(faces: str) -> str:
    """Hash beside a faces stream: what became of its faces; see `ledger`."""
    return f"{faces}:accounting"


def last_batch_key(faces: str, publisher: str) -> str:
    """String with a time to live: the last batch that a publisher put into a faces stream."""
    return f"{faces}:last-batch:{publisher}"


def shard_of(camera: str, shards: int) -> int:
    """The faces shard of a camera, 0 ≤ shard < shards; the same in every process."""
    return zlib.crc32(camera.encode()) % shards
