"""The broker's, Prometheus' and Grafana's files against a live stack: its broker runs with our
configuration and users, and every query of every dashboard gets an answer."""

from __future__ import annotations

import contextlib
import http.client
import json
import math
import subprocess
import sys
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import redis
import simplejpeg
import yaml

from tests.fixtures.deploy import DEPLOY, tool
from tests.fixtures.polling import wait_for
from tests.fixtures.stack import Stack, free_port, running_stack

HEALTH_PORTS = {
    "capture": "FACESTREAM_CAPTURE_HEALTH_PORT",
    "worker": "FACESTREAM_WORKER_HEALTH_PORT",
    "model-server": "FACESTREAM_MODEL_SERVER_HEALTH_PORT",
    "annotator": "FACESTREAM_ANNOTATOR_HEALTH_PORT",
}
SERVICES = ("capture", "worker", "annotator")  # that have a user in the broker
JPEG = simplejpeg.encode_jpeg(np.full((48, 64, 3), 90, np.uint8), 90, "RGB", "420")
ROOT_PASSWORD = "of-the-test-alone"
NOT_HERE = {"tf-serving"}  # its program is not to be had as a package


@dataclass
class Monitored:
    """A stack that somebody watches, and the Prometheus that asks it."""

    stack: Stack
    prometheus: str

    def ask(self, path: str, **fields: str) -> Any:
        """The data of an answer of Prometheus' API, or None while it does not answer."""
        url = f"{self.prometheus}/api/v1/{path}?{urllib.parse.urlencode(fields)}"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return json.load(answer)["data"]
        except OSError:
            return None

    def has_data(self, query: str) -> bool:
        """Whether a query gives at least one figure."""
        found = (self.ask("query", query=query) or {"result": []})["result"]
        return any(math.isfinite(float(series["value"][1])) for series in found)


@contextlib.contextmanager
def started(*command: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(10)


@contextlib.contextmanager
def broker(folder: Path) -> Iterator[int]:
    """Redis with our configuration and users, and its exporter; gives the exporter's port."""
    subprocess.run(["sh", str(DEPLOY / "init-secrets.sh"), str(folder)], check=True)
    secrets, port, exporter_port = folder / "deploy" / "secrets", free_port(), free_port()
    here = f"127.0.0.1:{port}"
    for file in (*(f"{service}.yaml" for service in SERVICES), "redis-exporter.json"):
        text = (secrets / file).read_text().replace("redis:6379", here)
        (secrets / file).write_text(text)
    with (secrets / "redis-users.acl").open("a") as users:
        users.write(f"user root on >{ROOT_PASSWORD} +acl +@connection\n")
    configuration = (DEPLOY / "redis" / "redis.conf").read_text()
    (folder / "redis.conf").write_text(configuration.replace("/run/secrets", str(secrets)))
    redis_server = (str(folder / "redis.conf"), "--port", str(port), "--bind", "127.0.0.1")
    exporter = [
        *("-redis.addr", f"redis://{here}", "-redis.user", "metrics"),
        *("-redis.password-file", str(secrets / "redis-exporter.json")),
        *("-web.listen-address", f"127.0.0.1:{exporter_port}"),
    ]
    with (
        started(tool("redis-server"), *redis_server),
        started(tool("prometheus-redis-exporter"), *exporter),
    ):
        yield exporter_port


def environment_of(pid: int) -> dict[str, str]:
    raw = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(line.split("=", 1) for line in raw if "=" in line)


@contextlib.contextmanager
def viewer(stack: Stack) -> Iterator[None]:
    """Somebody who looks at the demo camera's picture, and opens it anew when it ends."""
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.2):
            connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=10)
            with (
                contextlib.closing(connection),
                contextlib.suppress(OSError, http.client.HTTPException, ValueError),
            ):
                connection.request("GET", "/cameras/demo/stream.mjpg")
                answer = connection.getresponse()
                while answer.status == 200 and not stop.is_set() and answer.read1(65536):
                    pass

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        drawn = "facestream_annotator_frames_annotated_total"
        wait_for(lambda: stack.metric(drawn) > 0, "a picture for the viewer", 60)
        yield
    finally:
        stop.set()
        thread.join(15)


@pytest.fixture(scope="module")
def monitored(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[Monitored]:
    if sys.platform != "linux":
        pytest.skip("reads the parts' ports and figures from /proc")
    folder = tmp_path_factory.mktemp("monitored")
    cache = Path(pytestconfig.cache.mkdir("demo")) if pytestconfig.cache else folder
    with contextlib.ExitStack() as ends:
        exporter_port = ends.enter_context(broker(folder))
        secrets = folder / "deploy" / "secrets"
        files = [yaml.safe_load((secrets / f"{name}.yaml").read_text()) for name in SERVICES]
        environment = {"FACESTREAM_BROKER": files[0]["broker"]}
        for name, file in zip(SERVICES, files, strict=True):
            environment[f"FACESTREAM_{name.upper()}_BROKER"] = file["broker"]
        stack = ends.enter_context(running_stack("--demo", cache=cache, environment=environment))
        assert "broker" not in stack.parts()
        targets = {"redis": exporter_port}
        for name, variable in HEALTH_PORTS.items():
            targets[name] = int(environment_of(stack.parts()[name])[variable])
        port = free_port()
        config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["rule_files"] = [str(DEPLOY / "prometheus" / "rules" / "*.yml")]
        jobs = [j for j in config["scrape_configs"] if j["job_name"] not in NOT_HERE]
        for job in jobs:
            if job.pop("dns_sd_configs", None):
                job["static_configs"] = [{"targets": [f"127.0.0.1:{targets[job['job_name']]}"]}]
            else:
                job["static_configs"] = [{"targets": [f"127.0.0.1:{port}"]}]
        config["scrape_configs"] = jobs
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        flags = [
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'series'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        ends.enter_context(started(tool("prometheus"), *flags))
        ends.enter_context(viewer(stack))
        yield Monitored(stack, f"http://127.0.0.1:{port}")


def queries() -> Iterator[tuple[str, str]]:
    """Every panel's name and query, as Grafana would send it for a short look."""
    for file in sorted((DEPLOY / "grafana" / "dashboards").glob("*.json")):
        for panel in json.loads(file.read_text())["panels"]:
            for target in panel["targets"]:
                query = target["expr"].replace("$__rate_interval", "20s").replace("$camera", ".+")
                assert "$" not in query
                yield f"{file.stem}: {panel['title']}", query


def test_every_panel_of_every_dashboard_shows_data(monitored: Monitored) -> None:
    left = dict.fromkeys(queries())

    def all_answered() -> bool:
        for asked in [asked for asked in left if monitored.has_data(asked[1])]:
            del left[asked]
        return not left

    try:
        wait_for(all_answered, "data for every query", 45)
    except AssertionError:
        pytest.fail("no data for " + "\n".join(f"{title}: {query}" for title, query in left))


def test_every_target_answers_every_rule_is_sound_and_nothing_is_wrong(
    monitored: Monitored,
) -> None:
    def all_up() -> bool:
        active = (monitored.ask("targets") or {"activeTargets": []})["activeTargets"]
        return bool(active) and all(target["health"] == "up" for target in active)

    wait_for(all_up, "every target up")
    groups = monitored.ask("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) > 20
    assert {rule["health"] for rule in rules} == {"ok"}, [r for r in rules if r["health"] != "ok"]
    assert [rule["name"] for rule in rules if rule.get("state") == "firing"] == []


# Of each user: keys and what it may do there, and what it must not.
MAY: dict[str, list[tuple[str, ...]]] = {
    "capture": [("SET", "facestream:status:{trial}", "1", "EX", "5")],
    "worker": [("XLEN", "facestream:faces:{0}")],
    "annotator": [("SET", "facestream:watched:{trial}", "1", "EX", "5")],
}
MAY_NOT: dict[str, list[tuple[str, ...]]] = {
    "capture": [
        ("SET", "facestream:watched:{trial}", "1"),
        ("XREADGROUP", "GROUP", "workers", "x", "STREAMS", "facestream:faces:{0}", ">"),
        ("XADD", "facestream:results:{door}", "*", "m", "forged"),
        ("XRANGE", "facestream:dead-letters", "-", "+"),
        ("XRANGE", "facestream:faces:{0}", "-", "+"),
    ],
    "worker": [
        ("HGETALL", "facestream:cameras"),
        ("XRANGE", "facestream:frames:{demo}", "-", "+"),
        ("GET", "{facestream:cameras}:epoch"),
        ("LPOP", "facestream:phone-frames:{trial}"),
    ],
    "annotator": [
        ("SET", "{facestream:cameras}:epoch", "1"),
        ("XREVRANGE", "facestream:faces:{0}", "+", "-"),
        ("XADD", "facestream:results:{door}", "*", "m", "forged"),
        ("EVAL", "return 1", "0"),
        ("LPOP", "facestream:phone-frames:{trial}"),
    ],
}
NOBODY_MAY: list[tuple[str, ...]] = [
    *(("FLUSHALL",), ("CONFIG", "GET", "*"), ("GET", "other"), ("KEYS", "*"), ("ACL", "LIST")),
    *(("CLIENT", "LIST"), ("CLIENT", "KILL", "TYPE", "normal"), ("MONITOR",), ("SHUTDOWN",)),
    *(("SCRIPT", "LOAD", "return 1"), ("PUBLISH", "c", "m"), ("SAVE",)),
]


def broker_of(monitored: Monitored, service: str) -> str:
    return environment_of(monitored.stack.parts()[service])[f"FACESTREAM_{service.upper()}_BROKER"]


def test_the_broker_refused_nothing_that_a_service_wanted(monitored: Monitored) -> None:
    url = broker_of(monitored, "worker").split("@")[1]
    with redis.Redis.from_url(f"redis://root:{ROOT_PASSWORD}@{url}") as root:
        # Asked last, this includes a camera that is added, changed and removed, and a phone.
        api = f"http://127.0.0.1:{monitored.stack.port}/api"
        page = f"{api}/cameras"
        camera = {"name": "trial", "url": "rtsp://192.0.2.1/x"}
        with httpx.Client(timeout=10) as client:
            assert client.post(page, json=camera).status_code == 201
            wait_for(lambda: client.get(f"{page}/trial").status_code == 200, "the camera")
            assert client.patch(f"{page}/trial", json={"paused": True}).status_code == 200
            assert client.delete(f"{page}/trial").status_code == 204
            link = client.post(f"{api}/phones", json={"name": "tablet"}).json()["link"]
            numbers = count(1)

            def is_live() -> bool:
                answer = client.post(
                    f"{api}/phone/picture?sender=aaaaaaaa&seq={next(numbers)}",
                    content=JPEG,
                    headers={
                        "Authorization": f"Bearer {link.partition('#')[2]}",
                        "Content-Type": "image/jpeg",
                    },
                )
                return bool(answer.json().get("state") == "live")

            wait_for(is_live, "the phone is read")
            assert client.delete(f"{page}/tablet").status_code == 204
        refused: Any = root.acl_log()
        assert [(e["username"], e["object"], e["context"]) for e in refused] == []


@pytest.mark.parametrize("service", SERVICES)
def test_the_broker_gives_each_service_no_more_than_it_needs(
    monitored: Monitored, service: str
) -> None:
    url = broker_of(monitored, service)
    assert f"//{service}:" in url
    with redis.Redis.from_url(url) as client:
        for allowed in MAY[service]:
            client.execute_command(*allowed)
        for refused in (*MAY_NOT[service], *NOBODY_MAY):
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*refused)
    with (
        pytest.raises(redis.AuthenticationError),
        redis.Redis.from_url(f"redis://{url.split('@')[1]}") as anybody,
    ):
        anybody.ping()


def test_the_demo_camera_is_told_to_the_stack_once_and_again(
    monitored: Monitored, tmp_path: Path
) -> None:
    script = str(DEPLOY / "docker" / "register_demo_camera.py")
    page, camera = f"http://127.0.0.1:{monitored.stack.port}", "rtsp://127.0.0.1:1/demo"
    token_file = str(tmp_path / "admin-token")
    (tmp_path / "admin-token").write_text("on this machine the door is open\n")

    def add(name: str) -> int:
        return subprocess.run([sys.executable, script, page, token_file, name, camera]).returncode

    assert add("second") == 0
    assert add("second") == 0
    assert [c["name"] for c in monitored.stack.get("/api/cameras")] == ["demo", "second"]
    assert add("Not A Name") != 0
