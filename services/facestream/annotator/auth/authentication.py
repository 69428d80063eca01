"""The door of the page, the streams and the API: nobody passes it without an account.

ASGI middleware, within `RequestSecurityMiddleware`. It knows the bearer of a token (`Authorization: Bearer …`, or Basic
with the token as password for players that can only take `http://any:TOKEN@host/`) and the holder
of a session cookie. Viewers may read, admins may do everything. Open to all are health, the page
for signing in, that for phones and the program's own static files. Without any account everything
is open; the service then listens on this machine alone.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import time
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, JSONResponse, RedirectResponse
from pydantic import BaseModel, ConfigDict, Field, SecretStr
from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Receive, Scope, Send

from facestream.annotator.auth.accounts import MAX_PASSWORD_CHARS, Account, Accounts, Role
from facestream.annotator.auth.login_rate_limit import Attempts
from facestream.annotator.auth.sessions import SESSION_S, Sessions
from facestream.annotator.phone.pairing_link import PAGE_PATH, PICTURE_PATH

_log = logging.getLogger(__name__)

# A phone has no account, but its key; that is asked for where its pictures come in.
PUBLIC_PATHS = ("/livez", "/readyz", "/login", "/api/login", PAGE_PATH, PICTURE_PATH)
PUBLIC_PREFIX = "/static/"
_PLAYERS_FOLDER = "/cameras/"
_READS = ("GET", "HEAD", "OPTIONS")
VIEWER_WRITE_PATHS = ("/api/logout",)
_ACCOUNT = "facestream.account"


class LoginRequest(BaseModel):
    """Who wants in: a user's name and password, or an empty name and a token."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(max_length=64)] = ""
    password: Annotated[SecretStr, Field(max_length=MAX_PASSWORD_CHARS)]


class CurrentUser(BaseModel):
    """Who asks."""

    name: str = Field(description="of the user; empty for the bearer of a token, and for anybody")
    role: Role
    can_sign_out: bool


class Authenticator:
    """Who may come in, and who has.

    Args:
        accounts: none leave the door open.
        port: of the page; cookies know no ports, so it goes into the cookie's name.
    """

    def __init__(self, accounts: Accounts, port: int) -> None:
        self.accounts, self.cookie = accounts, f"facestream-{port}"
        self.sessions = Sessions(accounts, time.time)
        self.attempts = Attempts(time.monotonic)
        self._hashing = asyncio.Semaphore(1)  # 16 MB and a core's time each: one after the other

    def authenticate(self, scope: Scope) -> Account | None:
        """Who sends this request, or None."""
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        scheme, _, given = headers.get(b"authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self.accounts.find_by_token(given.strip())
        if scheme.lower() == "basic":
            return self.accounts.find_by_token(_basic_password(given))
        session = cookie_parser(headers.get(b"cookie", "")).get(self.cookie)
        return self.sessions.verify(session) if session else None

    async def verify_credentials(self, login: LoginRequest) -> Account | None:
        """The account whose name and password, or whose token this is."""
        given = login.password.get_secret_value()
        if not login.name:
            return self.accounts.find_by_token(given)
        async with self._hashing:
            return await asyncio.to_thread(self.accounts.verify_password, login.name, given)


class AuthenticationMiddleware:
    """Stops whoever has no account, or not the right one."""

    def __init__(self, app: ASGIApp, door: Authenticator) -> None:
        self._app, self._door = app, door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._door.accounts:
            await self._app(scope, receive, send)
            return
        account = self._door.authenticate(scope) if scope["type"] == "http" else None
        refusal = _refusal(scope, account)
        if refusal is None:
            scope[_ACCOUNT] = account
            await self._app(scope, receive, send)
        else:
            await refusal(scope, receive, send)


def _refusal(scope: Scope, account: Account | None) -> Response | None:
    path, method = scope["path"], scope.get("method", "")
    if path in PUBLIC_PATHS or (path.startswith(PUBLIC_PREFIX) and method in _READS):
        return None
    if account is None:
        # FFmpeg sends the token of a URL only where Basic is asked for. A browser would ask for a
        # password: it is led to the page that does, and the API does not ask for Basic.
        is_player = path.startswith(_PLAYERS_FOLDER)
        accepted = Headers(scope=scope).get("accept", "")
        if path == "/" or (is_player and "application/xhtml+xml" in accepted):
            return RedirectResponse("/login", 303)
        scheme = 'Basic realm="facestream"' if is_player else "Bearer"
        return JSONResponse(
            {"detail": "sign in at /login, or send Authorization: Bearer <token>"},
            401,
            {"WWW-Authenticate": scheme},
        )
    if method not in _READS and path not in VIEWER_WRITE_PATHS and not account.is_admin:
        return JSONResponse({"detail": "viewers may look, only admins may change this"}, 403)
    return None


def routes(door: Authenticator, login_page: Path) -> APIRouter:
    """Signing in and out, and who one is."""
    router = APIRouter()

    @router.get("/login", response_class=FileResponse)
    async def login_form() -> FileResponse:
        return FileResponse(login_page, headers={"Cache-Control": "no-cache"})

    @router.get("/api/me")
    async def me(request: Request) -> CurrentUser:
        return _me(request.scope.get(_ACCOUNT), has_session=door.cookie in request.cookies)

    @router.post("/api/login")
    async def login(wish: LoginRequest, request: Request) -> Response:
        address = request.client.host if request.client else ""
        wait_s = door.attempts.try_acquire(address)
        if wait_s > 0:
            return JSONResponse(
                {"detail": f"too many tries; wait {wait_s:.0f} s"},
                429,
                {"Retry-After": str(int(wait_s) + 1)},
            )
        account = await door.verify_credentials(wish)
        if account is None:
            _log.warning("a try to sign in as %r from %s failed", wish.name, address)
            return JSONResponse({"detail": "wrong name, password or token"}, 401)
        door.attempts.refund(address)
        _log.info("%s signed in from %s as %s", account.name, address, account.role)
        answer = JSONResponse(_me(account, has_session=True).model_dump())
        answer.set_cookie(
            door.cookie,
            door.sessions.create(account),
            max_age=SESSION_S,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return answer

    @router.post("/api/logout", status_code=204)
    async def logout(request: Request) -> Response:
        door.sessions.revoke(request.cookies.get(door.cookie, ""))
        answer = Response(status_code=204)
        answer.delete_cookie(door.cookie, httponly=True, samesite="strict")
        return answer

    return router


def _me(account: Account | None, *, has_session: bool) -> CurrentUser:
    if account is None:  # the door is open
        return CurrentUser(name="", role="admin", can_sign_out=False)
    name = "" if account.name.startswith(":") else account.name
    return CurrentUser(name=name, role=account.role, can_sign_out=has_session)


def _basic_password(given: str) -> str:
    try:
        return base64.b64decode(given, validate=True).decode().partition(":")[2]
    except ValueError:  # not base64, or not text
        return ""
