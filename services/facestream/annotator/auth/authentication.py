"""Authenticate every request to the web UI, the video streams and the API; login and logout.

The ASGI middleware runs inside `RequestSecurityMiddleware`. It accepts a token (`Authorization:
Bearer …`, or Basic with the token as password for players that only support
`http://any:TOKEN@host/`) or a session cookie. Viewers may read, admins may do everything. Health
checks, the login page, the phone page and static files are public. Without accounts every request
is accepted; the service then listens on this machine only.
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
from facestream.annotator.auth.login_rate_limit import LoginRateLimiter
from facestream.annotator.auth.sessions import DEVICE_LIFETIME_S, SESSION_LIFETIME_S, Sessions
from facestream.annotator.phone.pairing_link import FRAME_PATH, PAGE_PATH

_log = logging.getLogger(__name__)

# A phone has a pairing key instead of an account; the route for its frames checks the key.
PUBLIC_PATHS = ("/livez", "/readyz", "/login", "/api/login", PAGE_PATH, FRAME_PATH)
PUBLIC_PREFIX = "/static/"
_PLAYER_PREFIX = "/cameras/"
_READ_METHODS = ("GET", "HEAD", "OPTIONS")
VIEWER_WRITE_PATHS = ("/api/logout",)
_SCOPE_KEY = "facestream.account"
_NOT_AUTHENTICATED = "not authenticated; sign in at /login or send Authorization: Bearer <token>"


class LoginRequest(BaseModel):
    """Credentials: a user's name and password, or an empty name and a token."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(max_length=64)] = ""
    password: Annotated[SecretStr, Field(max_length=MAX_PASSWORD_CHARS)]


class CurrentUser(BaseModel):
    """The user of the current session or token."""

    name: str = Field(description="empty for a token, and where no accounts exist")
    role: Role
    can_sign_out: bool


class Authenticator:
    """Verifies tokens, sessions and credentials.

    Args:
        accounts: without any, authentication is off.
        port: of the web UI. Cookies are shared by all ports of a host, so the port is part of the
            cookie's name.
    """

    def __init__(self, accounts: Accounts, port: int) -> None:
        self.accounts, self.cookie_name = accounts, f"facestream-{port}"
        self.device_cookie_name = f"{self.cookie_name}-device"
        self.sessions = Sessions(accounts, time.time)
        self.rate_limiter = LoginRateLimiter(time.monotonic)
        self._hashing = asyncio.Semaphore(1)  # a hash costs 16 MB and one core: one at a time

    def authenticate(self, scope: Scope) -> Account | None:
        """Return the account of a request, or None."""
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        scheme, _, credentials = headers.get(b"authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self.accounts.find_by_token(credentials.strip())
        if scheme.lower() == "basic":
            return self.accounts.find_by_token(_basic_password(credentials))
        session = cookie_parser(headers.get(b"cookie", "")).get(self.cookie_name)
        return self.sessions.verify(session) if session else None

    def known_device(self, request: Request, login: LoginRequest) -> str:
        """Return the id of the device if its account has logged in from it before, else empty."""
        cookie = request.cookies.get(self.device_cookie_name, "")
        names = [login.name] if login.name else self.accounts.token_names()
        return next(filter(None, (self.sessions.verify_device(cookie, n) for n in names)), "")

    async def verify_credentials(self, login: LoginRequest) -> Account | None:
        """Return the account of a name and password or of a token, or None."""
        secret = login.password.get_secret_value()
        if not login.name:
            return self.accounts.find_by_token(secret)
        async with self._hashing:
            return await asyncio.to_thread(self.accounts.verify_password, login.name, secret)


class AuthenticationMiddleware:
    """ASGI middleware that rejects requests without an account or without the needed role."""

    def __init__(self, app: ASGIApp, authenticator: Authenticator) -> None:
        self._app, self._authenticator = app, authenticator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass an authorized request on, with its account in the scope."""
        if not self._authenticator.accounts:
            await self._app(scope, receive, send)
            return
        account = self._authenticator.authenticate(scope) if scope["type"] == "http" else None
        rejection = _check_access(scope, account)
        if rejection is None:
            scope[_SCOPE_KEY] = account
            await self._app(scope, receive, send)
        else:
            await rejection(scope, receive, send)


def _check_access(scope: Scope, account: Account | None) -> Response | None:
    """Return the response that rejects a request, or None if it is allowed."""
    path, method = scope["path"], scope.get("method", "")
    if path in PUBLIC_PATHS or (path.startswith(PUBLIC_PREFIX) and method in _READ_METHODS):
        return None
    if account is None:
        # FFmpeg sends the token of a URL only after a Basic challenge. A browser would open its own
        # password prompt on that, so it is redirected to the login page.
        is_player = path.startswith(_PLAYER_PREFIX)
        accepted = Headers(scope=scope).get("accept", "")
        if path == "/" or (is_player and "application/xhtml+xml" in accepted):
            return RedirectResponse("/login", 303)
        scheme = 'Basic realm="facestream"' if is_player else "Bearer"
        return JSONResponse(
            {"detail": _NOT_AUTHENTICATED},
            401,
            {"WWW-Authenticate": scheme},
        )
    if method not in _READ_METHODS and path not in VIEWER_WRITE_PATHS and not account.is_admin:
        return JSONResponse({"detail": "admin role required"}, 403)
    return None


def login_routes(authenticator: Authenticator, login_page: Path) -> APIRouter:
    """Return the routes for login, logout and the current user."""
    router = APIRouter()

    @router.get("/login", response_class=FileResponse)
    async def login_form() -> FileResponse:
        return FileResponse(login_page, headers={"Cache-Control": "no-cache"})

    @router.get("/api/me")
    async def me(request: Request) -> CurrentUser:
        return _current_user(
            request.scope.get(_SCOPE_KEY),
            has_session=authenticator.cookie_name in request.cookies,
        )

    @router.post("/api/login")
    async def login(credentials: LoginRequest, request: Request) -> Response:
        address = request.client.host if request.client else ""
        device = authenticator.known_device(request, credentials)
        limiter = authenticator.rate_limiter
        wait_s = limiter.try_acquire_device(device) if device else limiter.try_acquire(address)
        if wait_s > 0:
            return JSONResponse(
                {"detail": f"too many login attempts; try again in {wait_s:.0f} s"},
                429,
                {"Retry-After": str(int(wait_s) + 1)},
            )
        account = await authenticator.verify_credentials(credentials)
        if account is None:
            _log.warning("login failed: user=%r client=%s", credentials.name, address)
            return JSONResponse({"detail": "wrong name, password or token"}, 401)
        if device:
            limiter.refund_device(device)
        else:
            limiter.refund(address)
        _log.info("login: user=%r role=%s client=%s", account.name, account.role, address)
        response = JSONResponse(_current_user(account, has_session=True).model_dump())
        response.set_cookie(
            authenticator.cookie_name,
            authenticator.sessions.create(account),
            max_age=SESSION_LIFETIME_S,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        if not device:
            response.set_cookie(
                authenticator.device_cookie_name,
                authenticator.sessions.create_device(account),
                max_age=DEVICE_LIFETIME_S,
                path="/api/login",
                httponly=True,
                samesite="strict",
                secure=request.url.scheme == "https",
            )
        return response

    @router.post("/api/logout", status_code=204)
    async def logout(request: Request) -> Response:
        authenticator.sessions.revoke(request.cookies.get(authenticator.cookie_name, ""))
        response = Response(status_code=204)
        response.delete_cookie(authenticator.cookie_name, httponly=True, samesite="strict")
        return response

    return router


def _current_user(account: Account | None, *, has_session: bool) -> CurrentUser:
    if account is None:  # authentication is off
        return CurrentUser(name="", role="admin", can_sign_out=False)
    name = "" if account.name.startswith(":") else account.name
    return CurrentUser(name=name, role=account.role, can_sign_out=has_session)


def _basic_password(credentials: str) -> str:
    try:
        return base64.b64decode(credentials, validate=True).decode().partition(":")[2]
    except ValueError:  # not base64, or not text
        return ""
