"""What is done to a faces stream and entered in its ledger, both or neither.

Each function adds one script to a pipeline; its answer comes with the pipeline's, and the
functions with `answer` in their name read it. A script runs whole: a process that is killed, or a
reply that is lost, leaves no deed without its entry. Stream and ledger share a hash tag, so it is
the same in a Redis Cluster.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from facestream.common.broker import keys
from facestream.common.broker.face_accounting import FaceAccounting, of_fields
from facestream.common.broker.keys import (
    FACES_TTL_S,
    JPEG_FIELD,
    MESSAGE_FIELD,
    WORKER_GROUP,
    accounting_key,
    last_batch_key,
)
from facestream.common.broker.messages import Fields

# A publisher that cannot reach the broker for so long does not learn any more what became of what
# it sent last.
_SENT_TTL_S = 3600

# Adds entries unless this batch came before or was given up; a ledger that the broker has lost is
# carried over first, once. A refused first XADD raises, and nothing is done; after the first write
# a script is not refused memory.
_PUT = """
local stream, ledger, sent = KEYS[1], KEYS[2], KEYS[3]
local batch, cap, ttl_ms, sent_ttl_s, new = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local known, last_known = ARGV[6], 7 + 2 * ARGV[7]
local before = redis.call('GET', sent)
if before and tonumber(string.match(before, '^%d+')) >= tonumber(batch) then
  return redis.error_reply('LATE this batch came before, or was given up')
end
local epoch = redis.call('HGET', ledger, '_epoch')
if not epoch then
  redis.call('HSET', ledger, '_epoch', new)
  epoch = new
end
if known ~= '' and known ~= epoch and redis.call('HSETNX', ledger, '_carried_over:' .. known, 1) == 1 then
  for i = 8, last_known, 2 do
    if string.sub(ARGV[i], 1, 1) == '_' then
      redis.call('HSET', ledger, ARGV[i], ARGV[i + 1])
    else
      redis.call('HINCRBY', ledger, ARGV[i], ARGV[i + 1])
    end
  end
end
local added, pushed_out = {}, 0
for i = last_known + 1, #ARGV, 2 do
  local id = redis.call('XADD', stream, '*', 'm', ARGV[i], 'jpeg', ARGV[i + 1])
  local trimmed = redis.call('XTRIM', stream, 'MAXLEN', '=', cap)
  pushed_out = pushed_out + trimmed
  added[#added + 1] = {id, trimmed}
end
redis.call('HINCRBY', ledger, 'published', #added)
if pushed_out > 0 then redis.call('HINCRBY', ledger, 'overflow', pushed_out) end
redis.call('PEXPIRE', stream, ttl_ms)
redis.call('SET', sent, batch .. ' ' .. added[#added][1], 'EX', sent_ttl_s)
return {added, redis.call('HGETALL', ledger), redis.call('XLEN', stream)}
"""

LATE = "LATE"  # begins the refusal of a batch

# Whether a batch was put; one that was not never will be.
_GIVE_UP = """
local before = redis.call('GET', KEYS[1])
if before and tonumber(string.match(before, '^%d+')) >= tonumber(ARGV[1]) then
  return string.match(before, ' (.*)$') or ''
end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return false
"""

# Takes entries out, by outcome. Memory is not refused to a script that has deleted first.
_SETTLE = """
local stream, ledger = KEYS[1], KEYS[2]
local taken, i = {}, 2
while i <= #ARGV do
  local outcome, last = ARGV[i], i + 1 + ARGV[i + 1]
  redis.call('XACK', stream, ARGV[1], unpack(ARGV, i + 2, last))
  local number = redis.call('XDEL', stream, unpack(ARGV, i + 2, last))
  if number > 0 and outcome ~= 'not_ours' then redis.call('HINCRBY', ledger, outcome, number) end
  taken[#taken + 1] = number
  i = last + 1
end
return taken
"""

_EXPIRE = """
local taken = redis.call('XTRIM', KEYS[1], 'MINID', '=', ARGV[1])
if taken > 0 then redis.call('HINCRBY', KEYS[2], 'expired', taken) end
return taken
"""

# Makes the group. Where there was none, the stream may have reached the end of its time to live
# since the last entry: what is missing then has expired.
_OPEN = """
local made = redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0', 'MKSTREAM')
if made.err then return made end
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
    """A ledger as it was last heard of: what the broker's hash held, and how many faces waited."""

    fields: Mapping[str, str]
    waiting: int

    @property
    def ledger(self) -> FaceAccounting:
        """The numbers of it."""
        return of_fields(self.fields, self.waiting)

    def to_carry_over(self) -> tuple[str, dict[str, str]]:
        """Its epoch, and the fields that go on when the broker that held it has died."""
        own = {k: v for k, v in self.fields.items() if k.startswith("_") and k != "_epoch"}
        figures = self.ledger.after_broker_loss()
        counts = {"published": figures.published, **figures.outcomes}
        return self.fields.get("_epoch", ""), own | {k: str(v) for k, v in counts.items()}


def add_faces(
    pipe: Any,
    stream: str,
    publisher: str,
    batch: int,
    entries: Sequence[Fields],
    remembered: AccountingSnapshot | None,
) -> None:
    """Add faces.

    Args:
        publisher: its name, never used again by another; names the epoch of a new ledger.
        batch: number of this batch, higher than that of the last one of this publisher.
        entries: their fields; one at least.
        remembered: of this stream, to be carried over should the broker have lost it.
    """
    epoch, known = remembered.to_carry_over() if remembered is not None else ("", {})
    _eval(
        pipe,
        _PUT,
        3,
        stream,
        accounting_key(stream),
        last_batch_key(stream, publisher),
        batch,
        keys.FACES_CAP,
        int(FACES_TTL_S * 1000),
        _SENT_TTL_S,
        f"{publisher}-{batch}",
        epoch,
        len(known),
        *(part for pair in known.items() for part in pair),
        *(part for fields in entries for part in (fields[MESSAGE_FIELD], fields[JPEG_FIELD])),
    )


def parse_add_reply(answer: Any) -> tuple[list[tuple[bytes, int]], AccountingSnapshot]:
    """Id of each entry with how many it pushed out, and the ledger afterwards."""
    added, fields, waiting = answer
    return [(bytes(entry), int(pushed)) for entry, pushed in added], _remembered(fields, waiting)


def abandon_batch(pipe: Any, stream: str, publisher: str, batch: int) -> None:
    """Ask for a batch whose reply was lost: the id of its last entry, or None.

    None: it was not put, and will not be, should it still be under way.
    """
    _eval(pipe, _GIVE_UP, 1, last_batch_key(stream, publisher), batch, _SENT_TTL_S)


def settle(pipe: Any, stream: str, by_outcome: Mapping[str, Sequence[bytes]]) -> None:
    """Acknowledge and delete entries; the answer is how many there were, of each outcome."""
    parts = [part for outcome, ids in by_outcome.items() for part in (outcome, len(ids), *ids)]
    _eval(pipe, _SETTLE, 2, stream, accounting_key(stream), WORKER_GROUP, *parts)


def correct(broker: Any, stream: str, outcome: str, right: str, number: int) -> None:
    """So many faces were entered under an outcome that turned out not to be theirs. At once."""
    with broker.pipeline(transaction=False) as pipe:
        pipe.hincrby(accounting_key(stream), outcome, -number)
        pipe.hincrby(accounting_key(stream), right, number)
        pipe.execute()


def expire(pipe: Any, stream: str, min_id: str) -> None:
    """Take away entries with an id below this one; the answer is how many."""
    _eval(pipe, _EXPIRE, 2, stream, accounting_key(stream), min_id)


def ensure_group(pipe: Any, stream: str) -> None:
    """Have the workers' group; the answer is a BUSYGROUP error where it was there."""
    _eval(pipe, _OPEN, 2, stream, accounting_key(stream), WORKER_GROUP)


def read(pipe: Any, stream: str) -> None:
    """Ask for the ledger of one stream."""
    _eval(pipe, _READ, 2, stream, accounting_key(stream))


def answer_of_read(answer: Any) -> FaceAccounting:
    """The ledger."""
    return _remembered(*answer).ledger


def _eval(pipe: Any, script: str, keys: int, *arguments: Any) -> None:
    pipe.execute_command("EVAL", script, keys, *arguments)  # a cluster's pipeline has no `eval`


def _remembered(fields: Iterable[bytes], waiting: int) -> AccountingSnapshot:
    texts = [part.decode() for part in fields]
    return AccountingSnapshot(dict(zip(texts[::2], texts[1::2], strict=True)), int(waiting))
