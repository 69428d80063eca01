"""Lua scripts that change a face stream and its accounting atomically.

Each function adds one script call to a pipeline; its reply comes with the pipeline's replies, and
the `parse_…` functions read it. Redis runs a script as a whole: a process that is killed, or a
reply that is lost, cannot separate a change from its count. Stream and accounting share a hash
tag, so the same holds in a Redis Cluster.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from facestream.common.broker import keys
from facestream.common.broker.face_accounting import FaceAccounting, from_fields
from facestream.common.broker.keys import (
    FACES_TTL_S,
    JPEG_FIELD,
    MESSAGE_FIELD,
    WORKER_GROUP,
    accounting_key,
    last_batch_key,
)
from facestream.common.broker.messages import Fields

# A publisher that cannot reach Redis for longer no longer learns the outcome of its last batch.
_LAST_BATCH_TTL_S = 3600

# Adds entries unless this batch was added or abandoned before. If Redis has lost the accounting, it
# is carried over first, once. If the first XADD is refused for lack of memory, the script ends and
# changes nothing; after its first write Redis no longer refuses it memory.
_ADD = """
local stream, accounting, last_batch = KEYS[1], KEYS[2], KEYS[3]
local batch, cap, ttl_ms, batch_ttl_s, new_epoch = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local old_epoch, last_field = ARGV[6], 7 + 2 * ARGV[7]
local before = redis.call('GET', last_batch)
if before and tonumber(string.match(before, '^%d+')) >= tonumber(batch) then
  return redis.error_reply('LATE this batch was added or abandoned before')
end
local epoch = redis.call('HGET', accounting, '_epoch')
if not epoch then
  redis.call('HSET', accounting, '_epoch', new_epoch)
  epoch = new_epoch
end
if old_epoch ~= '' and old_epoch ~= epoch
    and redis.call('HSETNX', accounting, '_carried_over:' .. old_epoch, 1) == 1 then
  for i = 8, last_field, 2 do
    if string.sub(ARGV[i], 1, 1) == '_' then
      redis.call('HSET', accounting, ARGV[i], ARGV[i + 1])
    else
      redis.call('HINCRBY', accounting, ARGV[i], ARGV[i + 1])
    end
  end
end
local added, pushed_out = {}, 0
for i = last_field + 1, #ARGV, 2 do
  local id = redis.call('XADD', stream, '*', 'm', ARGV[i], 'jpeg', ARGV[i + 1])
  local trimmed = redis.call('XTRIM', stream, 'MAXLEN', '=', cap)
  pushed_out = pushed_out + trimmed
  added[#added + 1] = {id, trimmed}
end
redis.call('HINCRBY', accounting, 'published', #added)
if pushed_out > 0 then redis.call('HINCRBY', accounting, 'overflow', pushed_out) end
redis.call('PEXPIRE', stream, ttl_ms)
redis.call('SET', last_batch, batch .. ' ' .. added[#added][1], 'EX', batch_ttl_s)
return {added, redis.call('HGETALL', accounting), redis.call('XLEN', stream)}
"""

LATE = "LATE"  # first word of the error for a batch that was added or abandoned before

# Returns whether a batch was added; one that was not is refused from now on.
_ABANDON = """
local before = redis.call('GET', KEYS[1])
if before and tonumber(string.match(before, '^%d+')) >= tonumber(ARGV[1]) then
  return string.match(before, ' (.*)$') or ''
end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return false
"""

# Removes entries, by outcome. Redis refuses no memory to a script that deletes first.
_REMOVE = """
local stream, accounting = KEYS[1], KEYS[2]
local removed, i = {}, 2
while i <= #ARGV do
  local outcome, last = ARGV[i], i + 1 + ARGV[i + 1] redis.call('XACK', stream, ARGV[1],
  unpack(ARGV, i + 2, last)) local number = redis.call('XDEL', stream, unpack(ARGV, i + 2, last))
  if number > 0 and outcome ~= 'not_ours' then redis.call('HINCRBY', accounting, outcome, number)
  end removed[#removed + 1] = number i = last + 1
end
return removed
"""

# Trims entries below an id and counts them as expired.
_EXPIRE = """
local expired = redis.call('XTRIM', KEYS[1], 'MINID', '=', ARGV[1])
if expired > 0 then redis.call('HINCRBY', KEYS[2], 'expired', expired) end
return expired
"""

# Creates the group. If there was none, the stream may have reached its time to live since the last
# entry: faces that are missing then have expired.
_ENSURE_GROUP = """
local created = redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0', 'MKSTREAM')
if created.err then return created end
local fields, missing = redis.call('HGETALL', KEYS[2]), -redis.call('XLEN', KEYS[1])
for i = 1, #fields, 2 do
  if fields[i] == 'published' then
    missing = missing + fields[i + 1]
  elseif string.sub(fields[i], 1, 1) ~= '_' then
    missing = missing - fields[i + 1]
  end
end
if missing > 0 then redis.call('HINCRBY', KEYS[2], 'expired', missing) end
return missing
"""

_READ = "return {redis.call('HGETALL', KEYS[2]), redis.call('XLEN', KEYS[1])}"


@dataclass(frozen=True, slots=True)
class AccountingSnapshot:
    """Accounting of one stream as it was last read.

    Attributes:
        fields: of the Redis hash; those that begin with `_` are the epoch and its predecessors.
        waiting: entries in the stream.
    """

    fields: Mapping[str, str]
    waiting: int

    @property
    def accounting(self) -> FaceAccounting:
        """The counts."""
        return from_fields(self.fields, self.waiting)

    def to_carry_over(self) -> tuple[str, dict[str, str]]:
        """Return the epoch, and the fields to continue with after Redis lost its memory."""
        private = {k: v for k, v in self.fields.items() if k.startswith("_") and k != "_epoch"}
        final = self.accounting.after_broker_loss()
        counts = {"published": final.published, **final.outcomes}
        return self.fields.get("_epoch", ""), private | {k: str(v) for k, v in counts.items()}


def add_faces(
    pipe: Any,
    stream: str,
    publisher: str,
    batch: int,
    entries: Sequence[Fields],
    snapshot: AccountingSnapshot | None,
) -> None:
    """Add a batch of faces to a stream; the reply is for `parse_add_reply`.

    Args:
        pipe: a pipeline.
        stream: key of a face stream.
        publisher: name that no other publisher ever uses; it names the epoch of new accounting.
        batch: number of this batch, higher than that of this publisher's last one.
        entries: fields of each entry, at least one.
        snapshot: of this stream, to carry over if Redis has lost the accounting.
    """
    epoch, fields = snapshot.to_carry_over() if snapshot is not None else ("", {})
    _eval(
        pipe,
        _ADD,
        3,
        stream,
        accounting_key(stream),
        last_batch_key(stream, publisher),
        batch,
        keys.FACES_CAP,
        int(FACES_TTL_S * 1000),
        _LAST_BATCH_TTL_S,
        f"{publisher}-{batch}",
        epoch,
        len(fields),
        *(part for pair in fields.items() for part in pair),
        *(part for entry in entries for part in (entry[MESSAGE_FIELD], entry[JPEG_FIELD])),
    )


def parse_add_reply(reply: Any) -> tuple[list[tuple[bytes, int]], AccountingSnapshot]:
    """Return each entry's id with the number of entries it pushed out, and the new accounting."""
    added, fields, waiting = reply
    return [(bytes(entry), int(pushed)) for entry, pushed in added], _snapshot(fields, waiting)


def abandon_batch(pipe: Any, stream: str, publisher: str, batch: int) -> None:
    """Find out whether a batch whose reply was lost was added, and refuse it from now on if not.

    The reply is the id of the batch's last entry. None means that the batch was not added, and will
    not be if it is still on its way.
    """
    _eval(pipe, _ABANDON, 1, last_batch_key(stream, publisher), batch, _LAST_BATCH_TTL_S)


def remove_faces(pipe: Any, stream: str, ids_by_outcome: Mapping[str, Sequence[bytes]]) -> None:
    """Acknowledge and delete entries; the reply is the number of deleted ones by outcome."""
    parts = [part for name, ids in ids_by_outcome.items() for part in (name, len(ids), *ids)]
    _eval(pipe, _REMOVE, 2, stream, accounting_key(stream), WORKER_GROUP, *parts)


def change_outcome(broker: Any, stream: str, old: str, new: str, number: int) -> None:
    """Move a number of faces from one outcome to another, immediately."""
    with broker.pipeline(transaction=False) as pipe:
        pipe.hincrby(accounting_key(stream), old, -number)
        pipe.hincrby(accounting_key(stream), new, number)
        pipe.execute()


def expire_faces(pipe: Any, stream: str, min_id: str) -> None:
    """Remove entries with an id below `min_id`; the reply is their number."""
    _eval(pipe, _EXPIRE, 2, stream, accounting_key(stream), min_id)


def ensure_group(pipe: Any, stream: str) -> None:
    """Create the workers' consumer group; the reply is a BUSYGROUP error if it exists."""
    _eval(pipe, _ENSURE_GROUP, 2, stream, accounting_key(stream), WORKER_GROUP)


def read_accounting(pipe: Any, stream: str) -> None:
    """Read the accounting of one stream; the reply is for `parse_read_reply`."""
    _eval(pipe, _READ, 2, stream, accounting_key(stream))


def parse_read_reply(reply: Any) -> FaceAccounting:
    """Return the accounting that `read_accounting` has read."""
    return _snapshot(*reply).accounting


def _eval(pipe: Any, script: str, keys: int, *arguments: Any) -> None:
    pipe.execute_command("EVAL", script, keys, *arguments)  # a cluster's pipeline has no `eval`


def _snapshot(fields: Iterable[bytes], waiting: int) -> AccountingSnapshot:
    texts = [part.decode() for part in fields]
    return AccountingSnapshot(dict(zip(texts[::2], texts[1::2], strict=True)), int(waiting))
