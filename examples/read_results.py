"""Print each result of a camera from Redis: `read_results.py BROKER_URL CAMERA`."""

import sys

import redis
from facestream.common.broker.keys import results_key
from facestream.common.broker.messages import decode_result

broker, key, last = redis.Redis.from_url(sys.argv[1]), results_key(sys.argv[2]), "$"
while True:
    for _, entries in broker.xread({key: last}, block=0):
        for entry_id, fields in entries:
            last, result = entry_id, decode_result(fields)
            print(f"{result.track}: {result.age:.0f} years, {result.female:.0%} female", flush=True)
