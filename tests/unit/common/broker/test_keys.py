"""Redis keys: hash tags and shards."""

from facestream.common.broker.keys import frames_key, results_key, shard_of, status_key


def test_the_keys_of_a_camera_share_a_hash_tag() -> None:
    tags = {key("door").split("{")[1] for key in (frames_key, results_key, status_key)}
    assert tags == {"door}"}


def test_the_shard_of_a_camera_is_stable_and_all_shards_are_used() -> None:
    assert shard_of("door", 16) == shard_of("door", 16)
    assert {shard_of(f"camera{i}", 4) for i in range(100)} == {0, 1, 2, 3}
