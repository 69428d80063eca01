"""What the web server refuses before any route is reached."""

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


def ask(
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
def test_our_own_names_are_answered(host: str) -> None:
    assert ask("GET", f"http://{host}/api/cameras").status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example.com", "127.0.0.1.evil.com", "faces.example.org.x.y"]
)
def test_a_foreign_name_pointing_here_reads_nothing(host: str) -> None:
    answer = ask("GET", f"http://{host}/api/cameras")
    assert answer.status_code == 403
    assert "FACESTREAM_ANNOTATOR_ALLOWED_HOSTS" in answer.json()["detail"]


def test_orchestrators_may_ask_under_any_name_and_learn_nothing_of_cameras() -> None:
    assert ask("GET", "http://anything.example.com/livez").status_code == 200
    assert ask("GET", "http://anything.example.com/metrics").status_code == 403


def test_behind_a_proxy_that_changes_the_host_it_is_said_what_is_wrong() -> None:
    answer = ask("POST", HERE, JSON | {"Origin": "https://faces.example.org"}, b"{}")
    assert answer.status_code == 403
    for said in (
        "'https://faces.example.org'",
        "'127.0.0.1:8080'",
        "pass the Host header unchanged",
    ):
        assert said in answer.json()["detail"]


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
def test_a_page_of_another_site_changes_nothing(method: str, headers: dict[str, str]) -> None:
    answer = ask(method, HERE, JSON | headers, b"{}")
    assert answer.status_code == 403
    assert "detail" in answer.json()


def test_our_own_page_may_change_things() -> None:
    headers = JSON | {"Origin": "http://127.0.0.1:8080", "Sec-Fetch-Site": "same-origin"}
    assert ask("POST", HERE, headers, b"{}").status_code == 200
    assert ask("DELETE", HERE, {"Origin": "http://127.0.0.1:8080"}).status_code == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_a_form_of_another_site_cannot_pass_for_json(kind: str) -> None:
    assert ask("POST", HERE, {"Content-Type": kind}, b"{}").status_code == 415


def test_a_body_too_large_is_refused_unread() -> None:
    assert ask("POST", HERE, JSON, b" " * (MAX_BODY_BYTES + 1)).status_code == 413


def test_every_answer_forbids_what_the_page_does_not_need() -> None:
    for answer in (ask("GET", HERE), ask("GET", "http://evil.example.com/")):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("origin", ["http://[", "http://[::1", "null", "", "https://elsewhere.org"])
def test_an_origin_that_is_none_is_refused(origin: str) -> None:
    answer = ask("POST", HERE, JSON | {"Origin": origin}, b"{}")
    assert answer.status_code == 403
