"""What of phones is asked over HTTP: a new one, its link, its page, and each of its pictures.

One request a picture rather than a WebSocket or WebRTC: on iPhones, a certificate accepted by hand
is good for requests and not for WebSockets; and one port and the rules of the page do for all of
it. A phone has two requests under way at most, so a slow network makes it skip pictures and not
fall behind.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import redis.asyncio
import simplejpeg
from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field, SecretStr
from starlette.requests import ClientDisconnect

from facestream.annotator.live_state import LiveState
from facestream.annotator.metrics import AnnotatorMetrics
from facestream.annotator.phone.pairing_link import PAGE_PATH, PICTURE_PATH, phone_link, qr_svg
from facestream.annotator.phone.upload_slots import UploadDecision, UploadSlots
from facestream.annotator.settings import AnnotatorSettings
from facestream.common.broker.connection import BROKER_ERRORS
from facestream.common.broker.phone_frames import MAX_PHONE_SIDE_PX, has_allowed_size, push_frame
from facestream.common.cameras.models import Camera, CameraState, Rotation
from facestream.common.cameras.phone_keys import new_phone_url, phone_key_of
from facestream.common.cameras.privacy import Privacy
from facestream.common.core.names import Name

_BODY_DEADLINE_S = 10.0
_CAMERA_ALLOWED = "camera=(self), microphone=(), geolocation=()"
_JPEG_BODY = {"required": True, "content": {"image/jpeg": {"schema": {"format": "binary"}}}}
_STRANGER = "this link is not valid: the camera was removed, or the link is incomplete"
_REJECTIONS: dict[UploadDecision, tuple[int, str]] = {
    "slot_taken": (409, "another phone, or another page on this one, sends by this link"),
    "rate_limited": (429, "too many pictures"),
}


class NewPhone(BaseModel):
    """A phone that is to become a camera."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    rotate: Rotation = Field(0, description="degrees clockwise to turn the picture upright")
    privacy: Privacy = Field("live", description="live, blur or stats-only")


class PhoneLink(BaseModel):
    """What makes a phone this camera."""

    camera: str
    link: str = Field(description="to be opened on the phone; who has it may send pictures")
    qr: str = Field(description="the link as QR code: SVG")
    note: str = Field(description="what is wrong with the link, in plain words; empty if nothing")


class PictureAnswer(BaseModel):
    """What a phone is told of each of its pictures."""

    camera: str
    state: CameraState
    reason: str
    privacy: Privacy = Field(description="in force")
    fps: float = Field(description="so many pictures a second are wanted")


class PhoneIngest:
    """The phones that are cameras, and their pictures on the way to capture.

    Args:
        broker: used for nothing else.
    """

    def __init__(
        self,
        settings: AnnotatorSettings,
        board: LiveState,
        broker: redis.asyncio.Redis,
        metrics: AnnotatorMetrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings, self._board, self._broker = settings, board, broker
        self._metrics, self._clock = metrics, clock
        self._senders = UploadSlots(settings.phone_fps)

    def link(self, camera: Camera, request: Request) -> PhoneLink:
        """A phone's link, for who opened the page under the address of this request."""
        key = phone_key_of(camera)
        if key is None:
            raise HTTPException(409, f"{camera.name!r} is no phone that sends by a link")
        opened_at = request.headers.get("origin") or str(request.base_url).rstrip("/")
        link, note = phone_link(opened_at, self._settings.phone_base_url, key)
        return PhoneLink(camera=camera.name, link=link, qr=qr_svg(link), note=note)

    async def receive_frame(self, request: Request, sender: str, seq: int) -> PictureAnswer:
        """A picture has come: judge it and hand it to capture."""
        camera = self._camera_of(request)
        if camera is None:
            raise HTTPException(401, _STRANGER)
        name = camera.name
        self._metrics.phone_frames.labels(name).inc()
        self._senders.retain_only(self._board.names())
        verdict = self._senders.begin(name, sender, seq, self._clock())
        if verdict != "accept":
            self._drop(name, verdict)
            if verdict in _REJECTIONS:
                raise HTTPException(*_REJECTIONS[verdict])
            return self._answer(name)
        try:
            await self._pass_on(camera, request)
        finally:
            self._senders.end(name)
        return self._answer(name)

    def _camera_of(self, request: Request) -> Camera | None:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        found = None
        for camera in self._board.cameras().values():
            key = phone_key_of(camera)
            if key is not None and hmac.compare_digest(key.encode(), given.strip().encode()):
                found = camera
        return found if scheme.lower() == "bearer" else None

    async def _pass_on(self, camera: Camera, request: Request) -> None:
        name = camera.name
        try:
            async with asyncio.timeout(_BODY_DEADLINE_S):
                jpeg = await request.body()
        except TimeoutError:
            self._drop(name, "stale")
            raise HTTPException(408, "the picture took too long") from None
        except ClientDisconnect:
            self._drop(name, "client_disconnected")
            raise HTTPException(400, "the picture broke off") from None
        reason, why = _what_is_wrong(jpeg)
        if reason:
            self._drop(name, reason)
            raise HTTPException(422, why)
        if camera.paused:
            self._drop(name, "paused")
            return
        try:
            pushed_out = await push_frame(self._broker, name, jpeg)
        except BROKER_ERRORS:
            self._drop(name, "broker_unavailable")
            raise HTTPException(503, "the broker does not answer; try again shortly") from None
        if pushed_out:
            self._drop(name, "overflow", pushed_out)

    def _answer(self, name: str) -> PictureAnswer:
        status = self._board.status(name)
        return PictureAnswer(
            camera=name,
            state=status.state,
            reason=status.reason,
            privacy=status.privacy,
            fps=self._settings.phone_fps,
        )

    def _drop(self, camera: str, reason: str, count: int = 1) -> None:
        self._metrics.phone_frames_dropped.labels(camera, reason).inc(count)


def _what_is_wrong(jpeg: bytes) -> tuple[str, str]:
    """With a picture, by its header alone: the reason to count, and words; empty if nothing."""
    try:
        height, width = simplejpeg.decode_jpeg_header(jpeg)[:2]
    except ValueError:
        return "invalid", "not a JPEG picture"
    if not has_allowed_size(height, width):
        return "invalid_size", f"a picture's sides have 2 to {MAX_PHONE_SIDE_PX} pixels"
    return "", ""


def routes(
    phones: PhoneIngest,
    known: Callable[[str], Camera],
    add: Callable[[Camera], Awaitable[None]],
    page: Path,
) -> APIRouter:
    """Of phones.

    Args:
        known: the camera of a name, else an error for the user.
        add: adds a camera, or an error for the user.
        page: what a phone's browser opens.
    """
    router = APIRouter()

    @router.get(PAGE_PATH, response_class=FileResponse)
    async def phone_page() -> FileResponse:
        headers = {"Cache-Control": "no-cache", "Permissions-Policy": _CAMERA_ALLOWED}
        return FileResponse(page, headers=headers)

    @router.post("/api/phones", status_code=201)
    async def add_phone(wish: NewPhone, request: Request) -> PhoneLink:
        camera = Camera(
            name=wish.name,
            url=SecretStr(new_phone_url()),
            rotate=wish.rotate,
            privacy=wish.privacy,
        )
        await add(camera)
        return phones.link(camera, request)

    # Not by GET: viewers may read everything, but not send pictures.
    @router.post("/api/cameras/{name}/phone-link")
    async def show_link(name: str, request: Request) -> PhoneLink:
        return phones.link(known(name), request)

    # The bearer token is the phone's key.
    @router.post(PICTURE_PATH, openapi_extra={"requestBody": _JPEG_BODY})
    async def take_picture(
        request: Request,
        sender: Annotated[
            str, Query(pattern="^[a-z0-9]{8,32}$", description="who sends, chosen by the page")
        ],
        seq: Annotated[int, Query(ge=1, lt=2**53, description="number of the picture, upwards")],
    ) -> PictureAnswer:
        return await phones.receive_frame(request, sender, seq)

    return router
