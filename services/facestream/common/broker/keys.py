"""Redis keys, consumer groups, stream caps and times to live. No I/O.

The keys of a camera share the hash tag `{camera}`, so that a Redis Cluster stores them on one node.
Face streams are sharded by camera. Every stream and list has an exact cap. Streams and lists with
image data also have a time to live; every other key has one or holds a bounded number of entries.
"""

from __future__ import annotations

import zlib

PREFIX = "facestream"

CAMERAS_KEY = f"{PREFIX}:cameras"  # hash: camera name -> Camera as JSON
# String: epoch of the registry, set by the first capture replica that finds it missing. A missing
# epoch means that Redis restarted and the registry is not restored yet. In a Redis Cluster, the
# epoch and CONFIGURED_KEY share the slot of CAMERAS_KEY and are lost with it.
EPOCH_KEY = f"{{{CAMERAS_KEY}}}:epoch"
DEAD_LETTER_KEY = f"{PREFIX}:dead-letters"  # stream of DeadLetter
# hash: configured camera -> digest of its configuration
CONFIGURED_KEY = f"{{{CAMERAS_KEY}}}:configured"
REPLICAS_KEY = f"{PREFIX}:{{capture}}:replicas"  # hash: capture replica -> expiry of its lease
LEASES_KEY = f"{PREFIX}:{{capture}}:leases"  # hash: camera -> capture replica that reads it
WORKER_GROUP = "workers"

# Stream entry fields.
MESSAGE_FIELD = b"m"
JPEG_FIELD = b"jpeg"

# Exact caps, in entries. A frame has a JPEG of about 100 kB and is stale after a moment.
FRAMES_CAP = 8
RESULTS_CAP = 256
FACES_CAP = 256  # per shard
DEAD_LETTERS_CAP = 1000
PHONE_CAP = 4

CROP_PX = 128  # side of a face crop, the input size of the exported networks

# Times to live bound how long images of people stay in Redis if no service removes them.
# Frames: readers are at the newest one and the cap holds less than two seconds of video. A camera
# without frames for longer has nothing to show.
FRAMES_TTL_S = 5.0
# Faces: capture removes and counts those older than the retention. It is not below the largest
# `max_face_age_s` of a worker, so a face that a worker may still process is not removed. The time
# to live covers a capture replica that is gone; it is longer, so that a running one counts first.
FACES_RETENTION_S = 60.0
FACES_TTL_S = 90.0
PHONE_TTL_S = 2.0  # frames of a phone that no capture replica reads
STATUS_TTL_S = 10.0  # the replica that reads a camera rewrites its status every second
WATCHED_TTL_S = 3.0
MAX_CAMERAS = 256
MAX_FRAME_PIXELS = 4096 * 4096  # width times height
MAX_UNIX_TIME_S = 2**32  # year 2106; a later time in a message is invalid
DEFAULT_SHARDS = 1


def frames_key(camera: str) -> str:
    """Return the key of a stream of Frame: capture → annotator."""
    return f"{PREFIX}:frames:{{{camera}}}"


def results_key(camera: str) -> str:
    """Return the key of a stream of Result: worker → annotator."""
    return f"{PREFIX}:results:{{{camera}}}"


def status_key(camera: str) -> str:
    """Return the key of a string with a time to live: CameraStatus as JSON."""
    return f"{PREFIX}:status:{{{camera}}}"


def watched_key(camera: str) -> str:
    """Return the key of a string that exists while a client watches the camera's live view."""
    return f"{PREFIX}:watched:{{{camera}}}"


def phone_frames_key(camera: str) -> str:
    """Return the key of a list of JPEGs: a phone's browser → annotator → capture."""
    return f"{PREFIX}:phone-frames:{{{camera}}}"


def faces_key(shard: int) -> str:
    """Return the key of a stream of FaceCrop: capture → workers."""
    return f"{PREFIX}:faces:{{{shard}}}"


def accounting_key(faces: str) -> str:
    """Return the key of a hash with the accounting of a face stream; see `face_accounting`."""
    return f"{faces}:accounting"


def last_batch_key(faces: str, publisher: str) -> str:
    """Return the key of a string with a time to live: a publisher's last batch in a face stream."""
    return f"{faces}:last-batch:{publisher}"


def shard_of(camera: str, shards: int) -> int:
    """Return the face shard of a camera, 0 ≤ shard < shards; the same in every process."""
    return zlib.crc32(camera.encode()) % shards
