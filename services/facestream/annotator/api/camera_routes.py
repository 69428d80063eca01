"""Camera routes: list, add, change and remove cameras, and list the people in view."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import TypeVar

from fastapi import APIRouter, HTTPException, Response

from facestream.annotator.api.schemas import Camera, CameraCreate, CameraUpdate, Person
from facestream.annotator.event_publisher import person_json
from facestream.annotator.ingest.stream_reader import StreamReader
from facestream.annotator.live_state import LiveState
from facestream.common.broker import keys
from facestream.common.broker.connection import BROKER_ERRORS
from facestream.common.cameras import models
from facestream.common.cameras.models import CameraStatus
from facestream.common.cameras.regions import check_distinct_names
from facestream.common.cameras.registry import CameraRegistry
from facestream.common.security.redaction import redact

BROKER_UNAVAILABLE = "cannot reach Redis; try again shortly"
_RECOVERING = "Redis was restarted and its cameras are not restored yet; try again shortly"

T = TypeVar("T")


class CameraAdmin:
    """Finds and changes cameras; failures become an HTTPException with one line for the user.

    Args:
        live_state: the cameras as last read from the registry.
        stream_reader: writes to the registry.
        max_phone_cameras: limit of cameras that are phone browsers.
    """

    def __init__(
        self, live_state: LiveState, stream_reader: StreamReader, max_phone_cameras: int
    ) -> None:
        self._live_state = live_state
        self._stream_reader = stream_reader
        self._max_phone_cameras = max_phone_cameras

    def find(self, name: str) -> models.Camera:
        """Return a camera, or raise 404."""
        camera = self._live_state.camera(name)
        if camera is None:
            raise _not_found(name)
        return camera

    async def add(self, camera: models.Camera) -> None:
        """Add a camera, or raise 409 if the name is taken or a limit is reached."""
        await self._update_registry(
            lambda registry: _add(registry, camera, self._max_phone_cameras)
        )

    async def update(self, name: str, changes: CameraUpdate) -> models.Camera:
        """Change a camera and return the result."""
        self._check_exists(name)
        return await self._update_registry(lambda registry: _update(registry, name, changes))

    async def remove(self, name: str) -> None:
        """Remove a camera."""
        self._check_exists(name)
        if not await self._update_registry(lambda registry: registry.remove(name)):
            raise _not_found(name)

    def _check_exists(self, name: str) -> None:
        self.find(name)
        if self._stream_reader.is_recovering:
            raise HTTPException(503, _RECOVERING)

    async def _update_registry(self, change: Callable[[CameraRegistry], T]) -> T:
        try:
            return await self._stream_reader.update_registry(change)
        except BROKER_ERRORS:
            raise HTTPException(503, BROKER_UNAVAILABLE) from None


def camera_routes(live_state: LiveState, admin: CameraAdmin) -> APIRouter:
    """Return the routes below `/api/cameras`."""
    router = APIRouter()

    @router.get("/api/cameras")
    async def cameras() -> list[CameraStatus]:
        return live_state.statuses()

    @router.post("/api/cameras", status_code=201)
    async def add_camera(camera: CameraCreate) -> Camera:
        _check_regions(camera)
        await admin.add(camera)
        return Camera.from_config(camera)

    @router.get("/api/cameras/{name}")
    async def camera(name: str) -> Camera:
        return Camera.from_config(admin.find(name))

    @router.patch("/api/cameras/{name}")
    async def change_camera(name: str, changes: CameraUpdate) -> Camera:
        return Camera.from_config(await admin.update(name, changes))

    @router.delete("/api/cameras/{name}", status_code=204)
    async def remove_camera(name: str) -> Response:
        await admin.remove(name)
        return Response(status_code=204)

    @router.get("/api/cameras/{name}/people")
    async def people(name: str) -> list[Person]:
        admin.find(name)
        return [Person.model_validate(person_json(person)) for person in live_state.people(name)]

    return router


def _not_found(name: str) -> HTTPException:
    return HTTPException(404, f"camera {redact(name)!r} not found")


def _check_regions(camera: models.Camera) -> None:
    try:
        check_distinct_names(camera.zones, camera.lines)
    except ValueError as error:
        raise HTTPException(422, str(error)) from None


def _add(registry: CameraRegistry, camera: models.Camera, max_phone_cameras: int) -> None:
    present = registry.cameras()
    if camera.is_phone:
        phones = sum(known.is_phone for known in present.values())
        if phones >= max_phone_cameras:
            raise HTTPException(
                409,
                f"limit of {max_phone_cameras} phone cameras reached; remove one or raise "
                "FACESTREAM_ANNOTATOR_MAX_PHONE_CAMERAS",
            )
    _check_name_is_free(camera.name, present)
    if len(present) >= keys.MAX_CAMERAS:
        raise HTTPException(409, f"limit of {keys.MAX_CAMERAS} cameras reached; remove one")
    registry.upsert(camera)


def _update(registry: CameraRegistry, name: str, changes: CameraUpdate) -> models.Camera:
    present = registry.cameras()
    before = present.get(name)
    if before is None:
        raise _not_found(name)
    after = before.model_copy(update={k: v for k, v in changes if v is not None})
    if changes.zones is not None or changes.lines is not None:
        _check_regions(after)
    if after.name == name:
        registry.upsert(after)
    else:
        _check_name_is_free(after.name, present)
        registry.upsert(after)
        registry.remove(name)
    return after


def _check_name_is_free(name: str, present: Container[str]) -> None:
    if name in present:
        raise HTTPException(409, f"camera {name!r} already exists")
