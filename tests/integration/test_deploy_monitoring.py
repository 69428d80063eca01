"""Redis, Prometheus and Grafana files against a running system.

Its Redis uses the configuration and users of `deploy/`, and every dashboard query returns data.
"""

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
SERVICES = ("capture", "worker", "annotator")  # have a Redis user
JPEG = simplejpeg.encode_jpeg(np.full((48, 64, 3), 90, np.uint8), 90, "RGB", "420")
ROOT_PASSWORD = "of-the-test-alone"
NOT_HERE = {"tf-serving"}  # not available as a package


@dataclass
class Monitored:
    """A running system with a viewer, and the Prometheus that scrapes it."""

    stack: Stack
    prometheus: str

    def query(self, path: str, **fields: str) -> Any:
        """Return the data of a Prometheus API response, or None while it is unavailable."""
        url = f"{self.prometheus}/api/v1/{path}?{urllib.parse.urlencode(fields)}"
        try:
            with urllib.request.urlopen(url, timeout=5) as response:
                return json.load(response)["data"]
        except OSError:
            return None

    def has_data(self, query: str) -> bool:
        """Return whether a query returns at least one finite value."""
        found = (self.query("query", query=query) or {"result": []})["result"]
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
    """Run Redis with our configuration and users, and its exporter; yield the exporter's port."""
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
    """Run a client of the demo camera's stream that reconnects when it ends."""
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.2):
            connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=10)
            with (
                contextlib.closing(connection),
                contextlib.suppress(OSError, http.client.HTTPException, ValueError),
            ):
                connection.request("GET", "/cameras/demo/stream.mjpg")
                response = connection.getresponse()
                while response.status == 200 and not stop.is_set() and response.read1(65536):
                    pass

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        annotated = "facestream_annotator_frames_annotated_total"
        wait_for(lambda: stack.metric(annotated) > 0, "a frame for the viewer", 60)
        yield
    finally:
        stop.set()
        thread.join(15)


@pytest.fixture(scope="module")
def monitored(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[Monitored]:
    if sys.platform != "linux":
        pytest.skip("reads the services' ports from /proc")
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
    """Yield each panel's name and its query as Grafana sends it for a short range."""
    for file in sorted((DEPLOY / "grafana" / "dashboards").glob("*.json")):
        for panel in json.loads(file.read_text())["panels"]:
            for target in panel["targets"]:
                query = target["expr"].replace("$__rate_interval", "20s").replace("$camera", ".+")
                assert "$" not in query
                yield f"{file.stem}: {panel['title']}", query


def test_every_panel_of_every_dashboard_shows_data(monitored: Monitored) -> None:
    pending = dict.fromkeys(queries())

    def all_have_data() -> bool:
        for query in [query for query in pending if monitored.has_data(query[1])]:
            del pending[query]
        return not pending

    try:
        wait_for(all_have_data, "data for every query", 45)
    except AssertionError:
        pytest.fail("no data for " + "\n".join(f"{title}: {query}" for title, query in pending))


def test_every_target_is_up_every_rule_evaluates_and_no_alert_fires(
    monitored: Monitored,
) -> None:
    def all_up() -> bool:
        active = (monitored.query("targets") or {"activeTargets": []})["activeTargets"]
        return bool(active) and all(target["health"] == "up" for target in active)

    wait_for(all_up, "every target up")
    groups = monitored.query("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) > 20
    assert {rule["health"] for rule in rules} == {"ok"}, [r for r in rules if r["health"] != "ok"]
    assert [rule["name"] for rule in rules if rule.get("state") == "firing"] == []


# Commands that each Redis user may run, and commands that Redis must deny.
ALLOWED: dict[str, list[tuple[str, ...]]] = {
    "capture": [("SET", "facestream:status:{trial}", "1", "EX", "5")],
    "worker": [("XLEN", "facestream:faces:{0}")],
    "annotator": [("SET", "facestream:watched:{trial}", "1", "EX", "5")],
}
DENIED: dict[str, list[tuple[str, ...]]] = {
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
DENIED_TO_ALL: list[tuple[str, ...]] = [
    *(("FLUSHALL",), ("CONFIG", "GET", "*"), ("GET", "other"), ("KEYS", "*"), ("ACL", "LIST")),
    *(("CLIENT", "LIST"), ("CLIENT", "KILL", "TYPE", "normal"), ("MONITOR",), ("SHUTDOWN",)),
    *(("SCRIPT", "LOAD", "return 1"), ("PUBLISH", "c", "m"), ("SAVE",)),
]


def broker_of(monitored: Monitored, service: str) -> str:
    return environment_of(monitored.stack.parts()[service])[f"FACESTREAM_{service.upper()}_BROKER"]


def test_redis_denied_no_command_of_a_service(monitored: Monitored) -> None:
    url = broker_of(monitored, "worker").split("@")[1]
    with redis.Redis.from_url(f"redis://root:{ROOT_PASSWORD}@{url}") as root:
        # Exercise adding, changing and removing a camera, and a phone.
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
                response = client.post(
                    f"{api}/phone/frame?sender=aaaaaaaa&seq={next(numbers)}",
                    content=JPEG,
                    headers={
                        "Authorization": f"Bearer {link.partition('#')[2]}",
                        "Content-Type": "image/jpeg",
                    },
                )
                return bool(response.json().get("state") == "live")

            wait_for(is_live, "the phone camera is live")
            assert client.delete(f"{page}/tablet").status_code == 204
        denied: Any = root.acl_log()
        assert [(e["username"], e["object"], e["context"]) for e in denied] == []


@pytest.mark.parametrize("service", SERVICES)
def test_redis_denies_each_service_everything_else(monitored: Monitored, service: str) -> None:
    url = broker_of(monitored, service)
    assert f"//{service}:" in url
    with redis.Redis.from_url(url) as client:
        for allowed in ALLOWED[service]:
            client.execute_command(*allowed)
        for denied in (*DENIED[service], *DENIED_TO_ALL):
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*denied)
    with (
        pytest.raises(redis.AuthenticationError),
        redis.Redis.from_url(f"redis://{url.split('@')[1]}") as anonymous,
    ):
        anonymous.ping()


def test_registering_the_demo_camera_is_idempotent(monitored: Monitored, tmp_path: Path) -> None:
    script = str(DEPLOY / "docker" / "register_demo_camera.py")
    base_url, camera = f"http://127.0.0.1:{monitored.stack.port}", "rtsp://127.0.0.1:1/demo"
    token_file = str(tmp_path / "admin-token")
    (tmp_path / "admin-token").write_text("no token is needed on loopback\n")

    def register(name: str) -> int:
        return subprocess.run(
            [sys.executable, script, base_url, token_file, name, camera]
        ).returncode

    assert register("second") == 0
    assert register("second") == 0
    assert [c["name"] for c in monitored.stack.get("/api/cameras")] == ["demo", "second"]
    assert register("Not A Name") != 0
