"""Trusted hosts, CSRF protection, body limits and security headers."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from facestream.annotator.auth.request_security import MAX_BODY_BYTES, RequestSecurityMiddleware
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


async def _fine(request: Request) -> Response:
    await request.body()
    return JSONResponse({"fine": True})


APP = RequestSecurityMiddleware(
    Starlette(
        routes=[
            Route("/api/cameras", _fine, methods=["GET", "POST", "PATCH", "DELETE"]),
            Route("/livez", _fine),
            Route("/metrics", _fine),
        ]
    ),
    ["faces.example.org"],
)


def send(
    method: str, url: str, headers: dict[str, str] | None = None, content: bytes | None = None
) -> httpx.Response:
    async def go() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(APP)) as client:
            return await client.request(method, url, headers=headers, content=content)

    return asyncio.run(go())


HERE = "http://127.0.0.1:8080/api/cameras"
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:8080",
        "[::1]:8080",
        "localhost",
        "192.168.1.20:8080",
        "annotator:8080",
        "raspberrypi.local",
        "faces.example.org",
        "FACES.example.org:443",
    ],
)
def test_trusted_hosts_are_accepted(host: str) -> None:
    assert send("GET", f"http://{host}/api/cameras").status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example.com", "127.0.0.1.evil.com", "faces.example.org.x.y"]
)
def test_untrusted_host_is_rejected(host: str) -> None:
    response = send("GET", f"http://{host}/api/cameras")
    assert response.status_code == 403
    assert "FACESTREAM_ANNOTATOR_ALLOWED_HOSTS" in response.json()["detail"]


def test_health_checks_accept_any_host() -> None:
    assert send("GET", "http://anything.example.com/livez").status_code == 200
    assert send("GET", "http://anything.example.com/metrics").status_code == 403


def test_proxy_that_changes_the_host_is_explained() -> None:
    response = send("POST", HERE, JSON | {"Origin": "https://faces.example.org"}, b"{}")
    assert response.status_code == 403
    for message in (
        "'https://faces.example.org'",
        "'127.0.0.1:8080'",
        "pass the Host header unchanged",
    ):
        assert message in response.json()["detail"]


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example.com"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_cross_site_requests_are_rejected(method: str, headers: dict[str, str]) -> None:
    response = send(method, HERE, JSON | headers, b"{}")
    assert response.status_code == 403
    assert "detail" in response.json()


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize("path", ["api/cameras", "metrics"])
def test_pages_of_other_sites_cannot_embed_or_fetch(site: str, path: str) -> None:
    for mode, dest in (("no-cors", "image"), ("cors", "empty"), ("navigate", "iframe")):
        headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": dest}
        response = send("GET", f"http://127.0.0.1:8080/{path}", headers)
        assert response.status_code == 403, (mode, dest)
        assert response.headers["cross-origin-resource-policy"] == "same-origin"
    origin = {"Origin": "http://a.localhost:8080"}
    assert send("GET", HERE, origin).status_code == 403


def test_links_from_other_sites_work() -> None:
    headers = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert send("GET", HERE, headers | {"Sec-Fetch-Site": "cross-site"}).status_code == 200
    assert send("POST", HERE, headers | {"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert send("GET", HERE, {"Sec-Fetch-Site": "none"}).status_code == 200


def test_same_origin_requests_are_accepted() -> None:
    headers = JSON | {"Origin": "http://127.0.0.1:8080", "Sec-Fetch-Site": "same-origin"}
    assert send("POST", HERE, headers, b"{}").status_code == 200
    assert send("DELETE", HERE, {"Origin": "http://127.0.0.1:8080"}).status_code == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_html_forms_are_rejected(kind: str) -> None:
    assert send("POST", HERE, {"Content-Type": kind}, b"{}").status_code == 415


def test_oversized_body_is_rejected_unread() -> None:
    assert send("POST", HERE, JSON, b" " * (MAX_BODY_BYTES + 1)).status_code == 413


def test_every_response_has_security_headers() -> None:
    for response in (send("GET", HERE), send("GET", "http://evil.example.com/")):
        policy = response.headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert response.headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in response.headers


@pytest.mark.parametrize("origin", ["http://[", "http://[::1", "null", "", "https://elsewhere.org"])
def test_malformed_origin_is_rejected(origin: str) -> None:
    response = send("POST", HERE, JSON | {"Origin": origin}, b"{}")
    assert response.status_code == 403
