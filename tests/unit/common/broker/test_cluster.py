"""URLs of Redis Cluster and Sentinel, and grouping of keys by slot."""

from __future__ import annotations

import pytest
import redis
from facestream.common.broker import keys
from facestream.common.broker.cluster import MultiNodeUrl, is_multi_node_url, slot_groups
from facestream.common.broker.connection import connect
from facestream.common.core.errors import SettingsError
from facestream.common.security.redaction import redact
from pydantic import SecretStr

PASSWORD = "s3cr@t/#"
INFO = "ann:s3cr%40t%2F%23"


def test_a_cluster_url_lists_nodes() -> None:
    url = MultiNodeUrl(f"redis+cluster://{INFO}@one:7000,two,[::1]:7002")
    assert url.is_cluster
    assert url.hosts == [("one", 7000), ("two", 6379), ("::1", 7002)]
    options = redis.connection.parse_url(url.first_url)  # type: ignore[no-untyped-call]
    assert (options["username"], options["password"]) == ("ann", PASSWORD)


def test_an_ipv6_address_has_brackets_only_inside_a_url() -> None:
    url = MultiNodeUrl("redis+sentinel://[fd00::7]:26379/main")
    assert url.hosts == [("fd00::7", 26379)]
    assert url.first_url.startswith("redis://[fd00::7]:26379/")


def test_a_sentinel_url_lists_sentinels_and_names_the_master() -> None:
    url = MultiNodeUrl(
        f"rediss+sentinel://{INFO}@one,two:1/main/3?ssl_ca_certs=/ca&sentinel_password=x"
    )
    assert not url.is_cluster
    assert url.is_tls
    assert url.hosts == [("one", 26379), ("two", 1)]
    assert url.master == "main"
    assert url.sentinel_options == {"password": "x"}
    options = redis.connection.parse_url(url.first_url)  # type: ignore[no-untyped-call]
    assert (options["db"], options["ssl_ca_certs"]) == (3, "/ca")


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("redis+cluster://", "HOST:PORT"),
        ("redis+cluster://one:99999", "HOST:PORT"),
        ("redis+cluster://one:x", "HOST:PORT"),
        (f"redis+cluster://{INFO}@one,", "HOST:PORT"),
        (f"redis+cluster://{INFO}@one/1", "database 0"),
        (f"redis+sentinel://{INFO}@one", "name the master"),
        (f"redis+sentinel://{INFO}@one/main/0/more", "name the master"),
        ("redis+cluster://:s3cr/t@one", "write # as %23"),
        ("redis+sentinel://:s3cr#t@one/main", "write # as %23"),
        ("redis://:s3cr/t@one:6379", "write # as %23"),
        ("redis://:s3cr#t@one:6379", "write # as %23"),
        ("redis://one:99999", "at most 65535"),
        ("http://one", "schemes"),
    ],
)
def test_a_malformed_url_is_reported_in_one_line_without_the_password(url: str, what: str) -> None:
    with pytest.raises(SettingsError, match=what) as error:
        connect(SecretStr(url))
    assert "s3cr" not in str(error.value)


def test_passwords_in_multi_node_urls_are_redacted() -> None:
    text = redact(f"redis+sentinel://{INFO}@one,two/main?sentinel_password=hidden")
    assert "s3cr" not in text
    assert "hidden" not in text


@pytest.mark.parametrize("url", ["redis://h", "rediss://h", "unix:///s"])
def test_single_node_urls_are_not_multi_node_urls(url: str) -> None:
    assert not is_multi_node_url(url)


def test_keys_are_grouped_by_slot_only_in_a_cluster() -> None:
    names = [keys.frames_key("a"), keys.frames_key("b"), keys.results_key("a")]
    cluster = connect(SecretStr("redis+cluster://127.0.0.1:9"))
    assert slot_groups(cluster, names) == [[names[0], names[2]], [names[1]]]
    assert slot_groups(connect(SecretStr("redis://127.0.0.1:9")), names) == [names]
