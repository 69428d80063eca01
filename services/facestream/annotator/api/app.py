"""The routes: cameras, people, pictures, events, health, and the page.

Errors are `{"detail": "one line"}`. A camera's URL is never returned with its password.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from pathlib import Path
from typing import Annotated, TypeVar

from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from pydantic import BaseModel, ConfigDict, Field

from facestream.annotator.api.sse import EventBus, Subscriber
from facestream.annotator.api.streaming_response import LiveStreamResponse
from facestream.annotator.auth.authentication import AuthenticationMiddleware, Authenticator, routes
from facestream.annotator.auth.request_security import RequestSecurityMiddleware
from facestream.annotator.counting.routes import routes as stats_routes
from facestream.annotator.ingest.stream_reader import StreamReader
from facestream.annotator.live_state import LiveState, person_json
from facestream.annotator.phone.routes import PhoneIngest
from facestream.annotator.phone.routes import routes as phone_routes
from facestream.annotator.settings import AnnotatorSettings
from facestream.annotator.video.mjpeg_hub import CONTENT_TYPE, CameraFeed
from facestream.common.broker import keys
from facestream.common.broker.connection import BROKER_ERRORS
from facestream.common.cameras.models import Camera, CameraStatus, Rotation
from facestream.common.cameras.privacy import Privacy
from facestream.common.cameras.regions import Line, Lines, Zone, Zones, check_distinct_names
from facestream.common.cameras.registry import CameraRegistry
from facestream.common.core.names import Name
from facestream.common.observability.health import Health
from facestream.common.security.redaction import redact, validation_message

STATIC = Path(__file__).parent / "static"
_SERVER_BUSY = (
    "too many viewers at once; close some, or set FACESTREAM_ANNOTATOR_MAX_VIDEO_STREAMS higher"
)
_PAGES_BUSY = (
    "too many pages are open; close some, or set FACESTREAM_ANNOTATOR_MAX_EVENT_STREAMS higher"
)

T = TypeVar("T")


class PersonOut(BaseModel):
    """One face in view; the estimates are null until sure enough."""

    track: int
    box: list[int] = Field(description="x, y, width, height in pixels of the frame")
    seen_s: float = Field(description="how long this face has been followed")
    age: float | None = Field(description="years")
    age_low: float | None = Field(description="years; the age lies between these with 80 %")
    age_high: float | None
    female: float | None = Field(description="probability")
    answers: int = Field(description="how many looks at this face were fused")


class CameraOut(BaseModel):
    """A camera as it was asked for."""

    name: str
    url: str = Field(description="without its password")
    rotate: Rotation
    transport: str
    paused: bool
    privacy: Privacy = Field(description="as asked for; its state says what is in force")
    zones: tuple[Zone, ...]
    lines: tuple[Line, ...]


class CameraChange(BaseModel):
    """What to change about a camera; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    name: Name | None = None
    rotate: Rotation | None = None
    paused: bool | None = None
    privacy: Privacy | None = None
    zones: Zones | None = None
    lines: Lines | None = None


def create_app(
    settings: AnnotatorSettings,
    board: LiveState,
    intake: StreamReader,
    events: EventBus,
    health: Health,
    metrics: CollectorRegistry,
    door: Authenticator,
    phones: PhoneIngest,
) -> FastAPI:
    """The application around what is known; it starts nothing."""
    app = FastAPI(
        title="facestream", docs_url=None, redoc_url=None, openapi_url="/api/openapi.json"
    )
    app.add_middleware(AuthenticationMiddleware, door=door)
    app.add_middleware(RequestSecurityMiddleware, allowed_hosts=settings.allowed_hosts.split(","))
    app.add_exception_handler(RequestValidationError, _bad_request)
    app.include_router(routes(door, STATIC / "login.html"))
    studio = board.studio

    def known(name: str) -> Camera:
        camera = board.camera(name)
        if camera is None:
            raise _unknown(name)
        return camera

    async def change(work: Callable[[CameraRegistry], T]) -> T:
        try:
            return await intake.update_registry(work)
        except BROKER_ERRORS:
            raise HTTPException(503, "the broker does not answer; try again shortly") from None

    async def add(camera: Camera) -> None:
        await change(lambda registry: _add(registry, camera, settings.max_phone_cameras))

    def known_for_sure(name: str) -> Camera:
        camera = known(name)
        if intake.is_recovering:
            raise HTTPException(
                503, "the broker was restarted, its cameras are not back yet; try again shortly"
            )
        return camera

    @app.get("/api/cameras")
    async def cameras() -> list[CameraStatus]:
        return board.statuses()

    @app.post("/api/cameras", status_code=201)
    async def add_camera(camera: Camera) -> CameraOut:
        _check_places(camera)
        await add(camera)
        return _out(camera)

    @app.get("/api/cameras/{name}")
    async def camera(name: str) -> CameraOut:
        return _out(known(name))

    @app.patch("/api/cameras/{name}")
    async def change_camera(name: str, wish: CameraChange) -> CameraOut:
        known_for_sure(name)
        return _out(await change(lambda registry: _change(registry, name, wish)))

    @app.delete("/api/cameras/{name}", status_code=204)
    async def remove_camera(name: str) -> Response:
        known_for_sure(name)
        if not await change(lambda registry: registry.remove(name)):
            raise _unknown(name)
        return Response(status_code=204)

    @app.get("/api/cameras/{name}/people")
    async def people(name: str) -> list[PersonOut]:
        known(name)
        return [PersonOut.model_validate(person_json(p)) for p in board.people(name)]

    @app.get("/cameras/{name}/stream.mjpg", response_class=Response)
    async def stream(name: str) -> Response:
        known(name)
        if studio.full():
            raise HTTPException(503, _SERVER_BUSY)

        def chunks(channels: list[CameraFeed]):  # type: ignore[no-untyped-def]
            return studio.stream(channels[0])

        return LiveStreamResponse(studio.subscribe([name]), chunks, CONTENT_TYPE)

    @app.get("/api/wall.mjpg", response_class=Response)
    async def wall(
        large: str = "", camera: Annotated[list[str] | None, Query()] = None
    ) -> Response:
        names = list(dict.fromkeys(camera)) if camera else board.names()
        for name in names:
            known(name)
        if not names:
            raise HTTPException(404, "there is no camera yet")
        if studio.full():
            raise HTTPException(503, _SERVER_BUSY)
        return LiveStreamResponse(
            studio.subscribe(names),
            lambda channels: studio.multi_stream(channels, large),
            CONTENT_TYPE,
        )

    @app.get("/cameras/{name}/snapshot.jpg", response_class=Response)
    async def snapshot(name: str) -> Response:
        known(name)
        if studio.full():
            raise HTTPException(503, _SERVER_BUSY)
        jpeg, own = await studio.snapshot(name, settings.snapshot_timeout_s)
        return Response(
            jpeg,
            200 if own else 503,
            {"Cache-Control": "no-store", "X-Camera-State": board.status(name).state},
            "image/jpeg",
        )

    @app.get("/api/events", response_class=Response)
    async def event_stream() -> Response:
        if events.full():
            raise HTTPException(503, _PAGES_BUSY)
        return LiveStreamResponse(events.subscribe(), Subscriber.messages, "text/event-stream")

    app.include_router(stats_routes(board.people_counter))
    app.include_router(phone_routes(phones, known, add, STATIC / "phone.html"))

    @app.get("/livez", response_class=JSONResponse)
    async def livez() -> Response:
        live, body = health.live()
        return JSONResponse(body, 200 if live else 503)

    @app.get("/readyz", response_class=JSONResponse)
    async def readyz() -> Response:
        ready, body = health.ready()
        return JSONResponse(body, 200 if ready else 503)

    @app.get("/metrics", response_class=Response)
    async def metrics_text() -> Response:
        return Response(generate_latest(metrics), media_type=CONTENT_TYPE_LATEST)

    @app.get("/", response_class=FileResponse)
    async def page() -> FileResponse:
        return FileResponse(STATIC / "index.html", headers={"Cache-Control": "no-cache"})

    @app.get("/api", response_class=FileResponse)
    async def api_page() -> FileResponse:
        return FileResponse(STATIC / "openapi.html", headers={"Cache-Control": "no-cache"})

    app.mount("/static", _Static(directory=STATIC))
    return app


class _Static(StaticFiles):
    """Files that a browser asks for again after an update."""

    def file_response(self, *args: object, **kwargs: object) -> Response:
        response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        response.headers["Cache-Control"] = "no-cache"
        return response


def _unknown(name: str) -> HTTPException:
    return HTTPException(404, f"there is no camera {redact(name)!r}")


def _check_places(camera: Camera) -> None:
    try:
        check_distinct_names(camera.zones, camera.lines)
    except ValueError as error:
        raise HTTPException(422, str(error)) from None


def _out(camera: Camera) -> CameraOut:
    return CameraOut(
        name=camera.name,
        url=camera.redacted_url(),
        rotate=camera.rotate,
        transport=camera.transport,
        paused=camera.paused,
        privacy=camera.privacy,
        zones=camera.zones,
        lines=camera.lines,
    )


def _add(registry: CameraRegistry, camera: Camera, max_phone_cameras: int) -> None:
    present = registry.cameras()
    if camera.is_phone:
        phones = sum(known.is_phone for known in present.values())
        if phones >= max_phone_cameras:
            raise HTTPException(
                409,
                f"{phones} phones are the most; remove one, or set "
                "FACESTREAM_ANNOTATOR_MAX_PHONE_CAMERAS higher",
            )
    _check_free(camera.name, present)
    if len(present) >= keys.MAX_CAMERAS:
        raise HTTPException(409, f"{keys.MAX_CAMERAS} cameras are the most; remove one first")
    registry.upsert(camera)


def _change(registry: CameraRegistry, name: str, wish: CameraChange) -> Camera:
    present = registry.cameras()
    before = present.get(name)
    if before is None:
        raise _unknown(name)
    after = before.model_copy(update={k: v for k, v in wish if v is not None})
    if wish.zones is not None or wish.lines is not None:
        _check_places(after)
    if after.name == name:
        registry.upsert(after)
    else:
        _check_free(after.name, present)
        registry.upsert(after)
        registry.remove(name)
    return after


def _check_free(name: str, present: Container[str]) -> None:
    if name in present:
        raise HTTPException(409, f"there is a camera {name!r} already")


async def _bad_request(request: Request, error: Exception) -> Response:
    """One line that names the field; what was sent is not repeated, it may hold a password."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return JSONResponse({"detail": "the body is not JSON"}, 422)
    field = ".".join(str(part) for part in first["loc"][1:]) or "body"
    return JSONResponse({"detail": f"{field}: {validation_message(first)}"}, 422)
