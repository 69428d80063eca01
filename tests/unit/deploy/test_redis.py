"""The containers' Redis: its configuration and users kill an endless script."""

from __future__ import annotations

import contextlib
import shlex
import subprocess
import threading
import time
from pathlib import Path

import redis
from facestream.common.core.settings import CommonSettings

from tests.fixtures.deploy import DEPLOY, compose, tool
from tests.fixtures.polling import wait_for
from tests.fixtures.stack import free_port


def test_health_check_kills_an_endless_script(tmp_path: Path) -> None:
    subprocess.run(["sh", str(DEPLOY / "init-secrets.sh"), str(tmp_path)], check=True)
    secrets, port = tmp_path / "deploy" / "secrets", free_port()
    configuration = (DEPLOY / "redis" / "redis.conf").read_text()
    (tmp_path / "redis.conf").write_text(configuration.replace("/run/secrets", str(secrets)))
    check = compose()["services"]["redis"]["healthcheck"]["test"][1]
    cli = f"{shlex.quote(tool('redis-cli'))} -p {port}"
    check = check.replace("redis-cli", cli)

    def is_healthy() -> bool:
        return subprocess.run(["sh", "-c", check], capture_output=True, timeout=10).returncode == 0

    def run_endless_script() -> None:
        settings = CommonSettings.load(config_file=secrets / "worker.yaml", environ={})
        url = settings.broker.get_secret_value().replace("redis:6379", f"127.0.0.1:{port}")
        with redis.Redis.from_url(url) as worker, contextlib.suppress(redis.RedisError):
            worker.eval("while true do end", 0)

    server = subprocess.Popen(
        [tool("redis-server"), str(tmp_path / "redis.conf"), "--port", str(port)],
        stdout=subprocess.DEVNULL,
    )
    try:
        wait_for(is_healthy, "the start of Redis")
        script = threading.Thread(target=run_endless_script)
        script.start()
        time.sleep(1)  # longer than busy-reply-threshold
        assert not is_healthy()
        wait_for(is_healthy, "the end of the script")
        script.join(5)
        assert not script.is_alive()
    finally:
        server.kill()
        server.wait(5)
