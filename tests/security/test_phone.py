"""Pairing keys of phones: what they permit, and upload limits."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import redis
import simplejpeg
from facestream.common.broker.keys import phone_frames_key
from facestream.common.broker.phone_frames import MAX_PHONE_FRAME_BYTES

from tests.fixtures.annotator_with_accounts import ADMIN, CAMERA, VIEWER, Locked
from tests.fixtures.polling import wait_for

JPEG = simplejpeg.encode_jpeg(np.full((48, 64, 3), 90, np.uint8), 90, "RGB", "420")
WIDE = simplejpeg.encode_jpeg(np.full((16, 1936, 3), 90, np.uint8), 90, "RGB", "420")


class Phone:
    """A phone's browser."""

    def __init__(self, client: httpx.Client, link: str, sender: str = "a" * 12) -> None:
        self.key = link.partition("#")[2]
        self._client, self._sender, self._seq = client, sender, 0

    def send(self, body: bytes = JPEG, kind: str = "image/jpeg") -> httpx.Response:
        self._seq += 1
        return self._client.post(
            f"/api/phone/frame?sender={self._sender}&seq={self._seq}",
            content=body,
            headers={"Content-Type": kind, "Authorization": f"Bearer {self.key}"},
        )


@pytest.fixture
def broker(broker_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(broker_url) as client:
        yield client


@pytest.fixture(autouse=True)
def _phones_go_again(locked: Locked) -> Iterator[None]:
    yield
    admin = locked.client(ADMIN)
    for name in [camera["name"] for camera in admin.get("/api/cameras").json()]:
        if name != CAMERA["name"]:
            admin.delete(f"/api/cameras/{name}")


def add(locked: Locked, name: str) -> dict[str, Any]:
    response = locked.client(ADMIN).post("/api/phones", json={"name": name})
    assert response.status_code == 201, response.text
    link: dict[str, Any] = response.json()
    return link


def test_pairing_key_uploads_for_its_camera_and_grants_nothing_else(
    locked: Locked, broker: redis.Redis
) -> None:
    created, other = add(locked, "tablet"), add(locked, "hall")
    assert created["link"].startswith(f"{locked.url}/phone#")
    assert "Only this computer" in created["note"]
    page = locked.client().get("/phone")
    assert page.status_code == 200
    assert page.headers["permissions-policy"].startswith("camera=(self)")
    phone = Phone(locked.client(), created["link"])
    response = phone.send()
    assert response.status_code == 200
    assert response.json()["camera"] == "tablet"
    assert broker.lrange(phone_frames_key("tablet"), 0, -1) == [JPEG]
    assert not broker.exists(phone_frames_key("hall"))
    for method, path in (
        *(("GET", "/api/cameras"), ("GET", "/cameras/tablet/snapshot.jpg"), ("GET", "/metrics")),
        *(("POST", "/api/cameras/tablet/phone-link"), ("DELETE", "/api/cameras/tablet")),
    ):
        headers = {"Authorization": f"Bearer {phone.key}"}
        assert locked.client().request(method, path, headers=headers, json={}).status_code == 401
    assert Phone(locked.client(), other["link"]).send().json()["camera"] == "hall"
    for key in ("x", ADMIN, phone.key[:-1], phone.key + "x"):
        assert Phone(locked.client(), f"#{key}").send().status_code == 401
    renamed = locked.client(ADMIN).patch("/api/cameras/tablet", json={"name": "desk"})
    assert renamed.json()["url"] == "phone:***"
    assert phone.send().json()["camera"] == "desk"
    assert locked.client(ADMIN).delete("/api/cameras/desk").status_code == 204
    assert phone.send().status_code == 401


def test_only_an_admin_can_add_a_phone_and_read_its_link(locked: Locked) -> None:
    link = add(locked, "tablet")["link"]
    for token, status in (("", 401), (VIEWER, 403)):
        client = locked.client(token)
        assert client.post("/api/phones", json={"name": "mine"}).status_code == status
        assert client.post("/api/cameras/tablet/phone-link", json={}).status_code == status
    viewer = locked.client(VIEWER)
    assert link.partition("#")[2] not in viewer.get("/api/cameras/tablet").text
    admin = locked.client(ADMIN)
    again = admin.post("/api/cameras/tablet/phone-link", json={})
    assert again.json()["link"] == link
    assert again.json()["qr"].startswith("<svg ")
    assert admin.post("/api/phones", json={"name": "Tablet"}).status_code == 422
    assert admin.post("/api/phones", json={"name": "tablet"}).status_code == 409
    assert admin.post("/api/cameras/door/phone-link", json={}).status_code == 409


def test_uploads_are_limited_and_dropped_frames_are_counted(
    locked: Locked, broker: redis.Redis
) -> None:
    phone = Phone(locked.client(), add(locked, "tablet")["link"])
    assert phone.send(b"no JPEG").status_code == 422
    assert phone.send(JPEG[:40]).status_code == 422
    assert "1920" in phone.send(WIDE).json()["detail"]
    assert phone.send(b"x" * (MAX_PHONE_FRAME_BYTES + 1)).status_code == 413
    assert phone.send(kind="application/json").status_code == 415
    assert not broker.exists(phone_frames_key("tablet"))
    other = Phone(locked.client(), f"#{phone.key}", "b" * 12)
    assert other.send().status_code == 409
    answers = [phone.send().status_code for _ in range(60)]
    assert set(answers) <= {200, 429}
    metrics = locked.client(VIEWER).get("/metrics").text

    def count(what: str) -> int:
        name = f"facestream_annotator_phone_frames_{what} "
        return int(float((metrics.partition(name)[2] or "0").split("\n")[0]))

    sent = count('total{camera="tablet"}')
    lost = {
        reason: count(f'dropped_total{{camera="tablet",reason="{reason}"}}')
        for reason in (
            "invalid",
            "invalid_size",
            "slot_taken",
            "rate_limited",
            "stale",
            "overflow",
            "paused",
            "broker_unavailable",
        )
    }
    assert sent == 64
    assert (lost["invalid"], lost["invalid_size"], lost["slot_taken"]) == (2, 1, 1)
    assert lost["rate_limited"] == answers.count(429)
    assert sent - sum(lost.values()) == broker.llen(phone_frames_key("tablet"))


def test_interrupted_upload_is_counted(locked: Locked) -> None:
    link = add(locked, "tablet")["link"]
    client = locked.client()
    with socket.create_connection((client.base_url.host, client.base_url.port), 5) as phone:
        phone.sendall(
            f"POST /api/phone/frame?sender={'a' * 12}&seq={2**40} HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {link.partition('#')[2]}\r\nContent-Type: image/jpeg\r\n"
            "Content-Length: 1000\r\n\r\n".encode()
            + JPEG[:100]
        )
    dropped = 'phone_frames_dropped_total{camera="tablet",reason="client_disconnected"} 1.0'
    wait_for(lambda: dropped in locked.client(VIEWER).get("/metrics").text, "it is counted")


def test_frames_of_a_paused_phone_are_not_forwarded(locked: Locked, broker: redis.Redis) -> None:
    phone = Phone(locked.client(), add(locked, "tablet")["link"])
    locked.client(ADMIN).patch("/api/cameras/tablet", json={"paused": True})
    assert phone.send().status_code == 200
    assert not broker.exists(phone_frames_key("tablet"))


def test_number_of_phone_cameras_is_limited(locked: Locked) -> None:
    for i in range(8):
        add(locked, f"tablet-{i}")
    admin = locked.client(ADMIN)
    by_link = admin.post("/api/phones", json={"name": "one-more"})
    by_key = admin.post("/api/cameras", json={"name": "one-more", "url": "phone:" + "k" * 32})
    assert by_link.status_code == by_key.status_code == 409
    assert "FACESTREAM_ANNOTATOR_MAX_PHONE_CAMERAS" in by_link.json()["detail"]
    assert admin.patch("/api/cameras/tablet-0", json={"name": "desk"}).status_code == 200
