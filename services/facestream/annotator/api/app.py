"""FastAPI application of the annotator: all routes, middleware, error handler and static files.

Errors are `{"detail": "one line"}`. No response contains the password of a camera's URL.
"""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from facestream.annotator.api.camera_routes import CameraAdmin, camera_routes
from facestream.annotator.api.head_requests import HeadMiddleware
from facestream.annotator.api.sse import EventBus, Subscriber
from facestream.annotator.api.streaming_response import LiveStreamResponse, client_of
from facestream.annotator.api.video_routes import video_routes
from facestream.annotator.auth.authentication import (
    AuthenticationMiddleware,
    Authenticator,
    login_routes,
)
from facestream.annotator.auth.request_security import RequestSecurityMiddleware
from facestream.annotator.counting.routes import routes as stats_routes
from facestream.annotator.ingest.stream_reader import StreamReader
from facestream.annotator.live_state import LiveState
from facestream.annotator.phone.routes import PhoneIngest, phone_routes
from facestream.annotator.settings import AnnotatorSettings
from facestream.common.observability.health import Health
from facestream.common.security.redaction import validation_message
from facestream.common.security.trusted_hosts import parse_allowed_hosts

STATIC = Path(__file__).parent / "static"
_REVALIDATE = {"Cache-Control": "no-cache"}


def create_app(
    settings: AnnotatorSettings,
    live_state: LiveState,
    stream_reader: StreamReader,
    events: EventBus,
    health: Health,
    registry: CollectorRegistry,
    authenticator: Authenticator,
    phones: PhoneIngest,
) -> FastAPI:
    """Return the application; it starts no task."""
    app = FastAPI(
        title="facestream", docs_url=None, redoc_url=None, openapi_url="/api/openapi.json"
    )
    app.add_middleware(HeadMiddleware)
    app.add_middleware(AuthenticationMiddleware, authenticator=authenticator)
    app.add_middleware(
        RequestSecurityMiddleware, allowed_hosts=parse_allowed_hosts(settings.allowed_hosts)
    )
    app.add_exception_handler(RequestValidationError, _invalid_request)

    admin = CameraAdmin(live_state, stream_reader, settings.max_phone_cameras)
    app.include_router(login_routes(authenticator, STATIC / "login.html"))
    app.include_router(camera_routes(live_state, admin))
    app.include_router(video_routes(live_state, admin.find, settings.snapshot_timeout_s))

    @app.get("/api/events", response_class=Response)
    async def event_stream(request: Request) -> Response:
        subscription = events.subscribe(client_of(request))
        return LiveStreamResponse(subscription, Subscriber.messages, "text/event-stream")

    app.include_router(stats_routes(live_state.people_counter))
    app.include_router(phone_routes(phones, admin.find, admin.add, STATIC / "phone.html"))

    @app.get("/livez", response_class=JSONResponse)
    async def livez() -> Response:
        live, body = health.live()
        return JSONResponse(body, 200 if live else 503)

    @app.get("/readyz", response_class=JSONResponse)
    async def readyz() -> Response:
        ready, body = health.ready()
        return JSONResponse(body, 200 if ready else 503)

    @app.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    @app.get("/", response_class=FileResponse)
    async def index() -> FileResponse:
        return FileResponse(STATIC / "index.html", headers=_REVALIDATE)

    @app.get("/api", response_class=FileResponse)
    async def api_reference() -> FileResponse:
        return FileResponse(STATIC / "openapi.html", headers=_REVALIDATE)

    app.mount("/static", _RevalidatedFiles(directory=STATIC))
    return app


class _RevalidatedFiles(StaticFiles):
    """Static files that a browser revalidates, so that an update takes effect at once."""

    def file_response(self, *args: object, **kwargs: object) -> Response:
        response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        response.headers["Cache-Control"] = "no-cache"
        return response


async def _invalid_request(request: Request, error: Exception) -> Response:
    """Return one line that names the field, without its value: that may be a password."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return JSONResponse({"detail": "invalid JSON in the request body"}, 422)
    field = ".".join(str(part) for part in first["loc"][1:]) or "body"
    return JSONResponse({"detail": f"{field}: {validation_message(first)}"}, 422)
