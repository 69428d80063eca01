"""Authentication of a real annotator: accounts, roles, sessions, login rate limit, TLS."""

from __future__ import annotations

import base64
import socket
import threading
from pathlib import Path

import av
import httpx
import pytest
from facestream.annotator.service import serve
from facestream.annotator.settings import AnnotatorSettings
from facestream.common.core.errors import SettingsError, StartError

from tests.fixtures.annotator import Pipeline, filming
from tests.fixtures.annotator_with_accounts import ADMIN, CAMERA, PASSWORD, VIEWER, Locked
from tests.fixtures.certificates import self_signed
from tests.fixtures.polling import wait_for
from tests.fixtures.stack import free_port

LOOKS = (
    "/api/cameras",
    "/api/cameras/door",
    "/api/cameras/door/people",
    "/api/events",
    "/api/openapi.json",
    "/api/streams.mjpg",
    "/cameras/door/snapshot.jpg",
    "/cameras/door/stream.mjpg",
    "/metrics",
    "/nothing",
)
CHANGES = (
    ("POST", "/api/cameras"),
    ("PATCH", "/api/cameras/door"),
    ("DELETE", "/api/cameras/door"),
    ("PUT", "/api/anything-new"),
)


def status_of(client: httpx.Client, path: str) -> int:
    """Return the status only: some responses never end."""
    with client.stream("GET", path) as response:
        return response.status_code


def test_unauthenticated_client_gets_only_health_and_login(locked: Locked) -> None:
    anonymous = locked.client()
    for path in LOOKS:
        response = anonymous.get(path)
        assert response.status_code == 401, path
        challenge = "Basic" if path.startswith("/cameras/") else "Bearer"
        assert response.headers["www-authenticate"].split(" ")[0] == challenge
        assert "door" not in response.text
    for method, path in CHANGES:
        assert anonymous.request(method, path, json=CAMERA).status_code == 401
    for path in ("/", "/cameras/door/stream.mjpg"):  # a browser must not open its password prompt
        page = anonymous.get(path, headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
        assert (page.status_code, page.headers["location"]) == (303, "/login")
    for path in ("/livez", "/readyz", "/login", "/static/login.js"):
        assert anonymous.get(path).status_code == 200, path


@pytest.mark.parametrize(
    "trick",
    [
        "/static/../api/cameras",
        "//api/cameras",
        "/LOGIN/",
        "/api/cameras/",
        "/livez/../api/cameras",
        "/static/%2e%2e/%2e%2e/settings.py",
    ],
)
def test_no_spelling_of_a_path_bypasses_authentication(locked: Locked, trick: str) -> None:
    with socket.create_connection(("127.0.0.1", locked.port), 5) as connection:
        connection.sendall(
            f"GET {trick} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
        )
        response = b""
        while part := connection.recv(4096):
            response += part
    status = int(response.split(b" ")[1])
    assert status in (307, 401, 404), response
    assert b"10.0.0.9" not in response
    assert b"connecting" not in response


def test_viewer_can_read_but_not_change(locked: Locked) -> None:
    viewer = locked.client(VIEWER)
    for path in LOOKS:
        assert status_of(viewer, path) in (200, 404 if path == "/nothing" else 503), path
    for method, path in CHANGES:
        response = viewer.request(method, path, json=CAMERA)
        assert response.status_code == 403, (method, path)
        assert "admin role required" in response.json()["detail"]
    assert viewer.get("/api/me").json() == {"name": "", "role": "viewer", "can_sign_out": False}


def test_admin_can_change_cameras(locked: Locked) -> None:
    admin = locked.client(ADMIN)
    assert admin.get("/api/me").json()["role"] == "admin"
    assert admin.patch("/api/cameras/door", json={"rotate": 90}).json()["rotate"] == 90
    assert admin.post("/api/cameras", json=CAMERA).status_code == 409


def test_players_can_send_the_token_as_a_password(locked: Locked) -> None:
    for token, status in ((VIEWER, 200), ("wrong", 401)):
        credentials = base64.b64encode(f"any:{token}".encode()).decode()
        response = locked.client().get(
            "/api/cameras", headers={"Authorization": f"Basic {credentials}"}
        )
        assert response.status_code == status
    for broken in ("Basic", "Basic ü", "Basic ====", "Bearer", "Bearer  x", "Digest x", "\xff"):
        headers = {b"Authorization": broken.encode("latin-1")}
        assert locked.client().get("/api/cameras", headers=headers).status_code == 401


def test_ffmpeg_sends_the_token_of_its_url(locked: Locked, broker_url: str) -> None:
    pipeline = Pipeline(broker_url)
    url = f"http://any:{VIEWER}@127.0.0.1:{locked.port}/cameras/door/stream.mjpg"
    with filming(pipeline, "door", [1]), av.open(url) as player:
        assert next(player.decode(video=0)).width == 320
    pipeline.redis.close()


def test_token_session_survives_a_restart_and_ends_at_logout(
    locked: Locked,
) -> None:
    browser = locked.client()
    response = browser.post("/api/login", json={"password": ADMIN})
    assert response.json() == {"name": "", "role": "admin", "can_sign_out": True}
    cookie = response.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    assert ADMIN not in cookie
    assert browser.get("/").status_code == 200
    assert status_of(browser, "/cameras/door/stream.mjpg") == 200
    locked.stop()
    locked.start()
    wait_for(lambda: browser.get("/api/cameras").json(), "the camera")
    stolen = dict(browser.cookies)
    assert browser.post("/api/logout", json={}).status_code == 204
    assert [name for name in browser.cookies if not name.endswith("-device")] == []
    assert browser.get("/api/cameras").status_code == 401
    browser.cookies.update(stolen)
    assert browser.get("/api/cameras").status_code == 401


def test_user_logs_in_with_name_and_password(locked: Locked) -> None:
    browser = locked.client()
    response = browser.post("/api/login", json={"name": "anna", "password": PASSWORD})
    assert response.json() == {"name": "anna", "role": "viewer", "can_sign_out": True}
    assert browser.get("/api/cameras").status_code == 200
    assert browser.delete("/api/cameras/door").status_code == 403
    for change in ({"name": ":admin", "password": ADMIN}, {"name": "anna", "password": ADMIN}):
        assert locked.client().post("/api/login", json=change).status_code == 401


def test_cross_site_requests_cannot_use_a_session(locked: Locked) -> None:
    browser = locked.client()
    browser.post("/api/login", json={"password": ADMIN})
    foreign = {"Origin": "http://evil.example"}
    port_beside = {"Origin": f"http://127.0.0.1:{locked.port + 1}", "Sec-Fetch-Site": "same-site"}
    for headers in (foreign, port_beside):
        response = browser.delete("/api/cameras/door", headers=headers)
        assert response.status_code == 403
        assert browser.post("/api/login", json={"password": ADMIN}, headers=headers).is_error
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert browser.post("/api/logout", content="", headers=form).status_code == 415
    assert browser.get("/api/cameras/door").status_code == 200


def test_login_attempts_are_rate_limited(
    broker_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    annotator = Locked(broker_url, tmp_path)
    try:
        browser = annotator.client()
        tries = [
            browser.post("/api/login", json={"name": "anna", "password": f"hunter-{i}"})
            for i in range(8)
        ]
        assert [response.status_code for response in tries] == [401] * 5 + [429] * 3
        assert 1 <= int(tries[-1].headers["retry-after"]) <= 11
        # Until the limit ends, the right password is rejected too; tokens still work.
        right = browser.post("/api/login", json={"name": "anna", "password": PASSWORD})
        assert right.status_code == 429
        assert annotator.client(VIEWER).get("/api/cameras").status_code == 200
    finally:
        annotator.end()
    assert caplog.text.count("login failed: user='anna' client=127.0.0.1") == 5
    assert "hunter-" not in caplog.text


def test_known_device_can_log_in_while_its_address_is_limited(
    broker_url: str, tmp_path: Path
) -> None:
    annotator = Locked(broker_url, tmp_path)
    right = {"name": "anna", "password": PASSWORD}
    try:
        known, attacker = annotator.client(), annotator.client()
        login = known.post("/api/login", json=right)
        cookies = login.headers.get_list("set-cookie")
        device = next(cookie for cookie in cookies if "-device=" in cookie)
        assert "HttpOnly" in device
        assert "Path=/api/login" in device
        for i in range(6):
            attacker.post("/api/login", json={"name": "anna", "password": f"hunter-{i}"})
        assert attacker.post("/api/login", json=right).status_code == 429
        known.post("/api/logout", json={})
        assert known.get("/api/cameras").status_code == 401
        assert known.post("/api/login", json=right).status_code == 200
        # The cookie grants nothing, and has a limit of its own.
        value = device.partition("=")[2].partition(";")[0].strip('"')
        thief = annotator.client()
        thief.cookies.set(f"facestream-{annotator.port}", value)
        assert thief.get("/api/cameras").status_code == 401
        wrong = {"name": "anna", "password": "hunter-7"}
        assert [known.post("/api/login", json=wrong).status_code for _ in range(8)].count(429) == 3
    finally:
        annotator.end()


def test_forwarded_addresses_are_ignored_without_trusted_proxies(
    broker_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    annotator = Locked(broker_url, tmp_path)
    try:
        browser = annotator.client()
        statuses = [
            browser.post(
                "/api/login",
                json={"name": "anna", "password": f"hunter-{i}"},
                headers={"X-Forwarded-For": f"10.0.0.{i}"},
            ).status_code
            for i in range(8)
        ]
        assert statuses == [401] * 5 + [429] * 3
    finally:
        annotator.end()
    assert "10.0.0." not in caplog.text


def test_a_trusted_proxy_names_its_clients(broker_url: str, tmp_path: Path) -> None:
    annotator = Locked(broker_url, tmp_path, trusted_proxies="127.0.0.1")
    try:
        browser = annotator.client()
        for i in range(7):
            response = browser.post(
                "/api/login",
                json={"name": "anna", "password": f"hunter-{i}"},
                headers={"X-Forwarded-For": f"10.0.0.{i}", "X-Forwarded-Proto": "https"},
            )
            assert response.status_code == 401
        right = {"name": "anna", "password": PASSWORD}
        login = browser.post("/api/login", json=right, headers={"X-Forwarded-Proto": "https"})
        assert "Secure" in login.headers["set-cookie"]
    finally:
        annotator.end()


def test_with_a_certificate_only_https_is_served_and_cookies_are_secure(
    broker_url: str, tmp_path: Path
) -> None:
    annotator = Locked(broker_url, tmp_path, tls=True)
    try:
        browser = annotator.client()
        response = browser.post("/api/login", json={"password": VIEWER})
        assert "Secure" in response.headers["set-cookie"].split("; ")
        assert browser.get("/api/cameras").status_code == 200
        with pytest.raises(httpx.TransportError):
            httpx.get(annotator.url.replace("https", "http") + "/livez")
        with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
            httpx.get(annotator.url + "/livez")
    finally:
        annotator.end()


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_without_accounts_only_loopback_addresses_are_allowed(host: str) -> None:
    with pytest.raises(SettingsError, match=r"without authentication; set --admin-token-file or"):
        serve(AnnotatorSettings(host=host, port=free_port(), health_port=0), threading.Event())


def test_invalid_certificate_is_reported_in_one_line(tmp_path: Path) -> None:
    cert, key = self_signed(tmp_path)
    key.write_text("nothing")
    settings = AnnotatorSettings(
        port=free_port(), health_port=0, tls_cert_file=cert, tls_key_file=key
    )
    with pytest.raises(StartError, match="not a certificate and its key"):
        serve(settings, threading.Event())
    with pytest.raises(SettingsError, match="needs both"):
        AnnotatorSettings.load({"tls_cert_file": str(cert)}, environ={})
