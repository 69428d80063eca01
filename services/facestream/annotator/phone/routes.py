"""Phone routes: add a phone camera, its pairing link, its page, and the frames it uploads.

Each frame is one request instead of a WebSocket or WebRTC. On iPhones a certificate accepted by
hand is valid for requests but not for WebSockets. Requests also need no further port, and pass the
same security checks as the web UI. A phone has at most two uploads in flight: on a slow network it
skips frames and does not fall behind.
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
from facestream.annotator.phone.pairing_link import FRAME_PATH, PAGE_PATH, pairing_link, qr_svg
from facestream.annotator.phone.upload_slots import UploadDecision, UploadSlots
from facestream.annotator.settings import AnnotatorSettings
from facestream.common.broker.connection import BROKER_ERRORS
from facestream.common.broker.phone_frames import (
    MAX_PHONE_SIDE_PX,
    has_allowed_size,
    is_baseline_jpeg,
    push_frame,
)
from facestream.common.cameras.models import Camera, CameraState
from facestream.common.cameras.phone_keys import new_phone_url, phone_key_of
from facestream.common.cameras.privacy import Privacy
from facestream.common.core.frame_limits import Rotation
from facestream.common.core.names import Name

_BODY_TIMEOUT_S = 10.0
_CAMERA_ALLOWED = "camera=(self), microphone=(), geolocation=()"
_JPEG_BODY = {"required": True, "content": {"image/jpeg": {"schema": {"format": "binary"}}}}
_INVALID_LINK = "invalid link: the camera was removed, or the link is incomplete"
_REJECTIONS: dict[UploadDecision, tuple[int, str]] = {
    "slot_taken": (409, "another phone or browser tab is using this link"),
    "rate_limited": (429, "too many frames"),
}


class PhoneCreate(BaseModel):
    """A phone to add as a camera."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    rotate: Rotation = Field(0, description="degrees clockwise that make the frame upright")
    privacy: Privacy = Field("full", description="full, blur or stats-only")


class PhoneLink(BaseModel):
    """The pairing link of a phone camera."""

    camera: str
    link: str = Field(description="to open on the phone; any holder may send frames")
    qr: str = Field(description="the link as a QR code in SVG")
    note: str = Field(description="why the link will not work; empty if it will")


class FrameAck(BaseModel):
    """Response to each uploaded frame."""

    camera: str
    state: CameraState
    reason: str
    privacy: Privacy = Field(description="mode in force")
    fps: float = Field(description="frames per second that the phone should send")


class PhoneIngest:
    """Receives the frames of phone cameras and passes them to capture.

    Args:
        settings: of the annotator.
        live_state: the cameras with their keys and statuses.
        broker: used for these frames only.
        metrics: of the annotator.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        settings: AnnotatorSettings,
        live_state: LiveState,
        broker: redis.asyncio.Redis,
        metrics: AnnotatorMetrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings, self._live_state, self._broker = settings, live_state, broker
        self._metrics, self._clock = metrics, clock
        self._slots = UploadSlots(settings.phone_fps)

    def link(self, camera: Camera, request: Request) -> PhoneLink:
        """Return the pairing link of a camera, for the origin of this request."""
        key = phone_key_of(camera)
        if key is None:
            raise HTTPException(409, f"camera {camera.name!r} is not a phone camera")
        origin = request.headers.get("origin") or str(request.base_url).rstrip("/")
        link, note = pairing_link(origin, self._settings.phone_base_url, key)
        return PhoneLink(camera=camera.name, link=link, qr=qr_svg(link), note=note)

    async def receive_frame(self, request: Request, sender: str, seq: int) -> FrameAck:
        """Check one uploaded frame and pass it to capture.

        Raises:
            HTTPException: the frame was rejected.
        """
        camera = self._authenticate(request)
        if camera is None:
            raise HTTPException(401, _INVALID_LINK)
        name = camera.name
        self._metrics.phone_frames.labels(name).inc()
        self._slots.retain_only(self._live_state.names())
        decision = self._slots.begin(name, sender, seq, self._clock())
        if decision != "accept":
            self._count_dropped(name, decision)
            if decision in _REJECTIONS:
                raise HTTPException(*_REJECTIONS[decision])
            return self._ack(name)
        try:
            await self._forward(camera, request)
        finally:
            self._slots.end(name)
        return self._ack(name)

    def _authenticate(self, request: Request) -> Camera | None:
        """Return the phone camera whose key the request carries; compares in constant time."""
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        found = None
        for camera in self._live_state.cameras().values():
            expected = phone_key_of(camera)
            if expected is not None and hmac.compare_digest(
                expected.encode(), key.strip().encode()
            ):
                found = camera
        return found if scheme.lower() == "bearer" else None

    async def _forward(self, camera: Camera, request: Request) -> None:
        name = camera.name
        try:
            async with asyncio.timeout(_BODY_TIMEOUT_S):
                jpeg = await request.body()
        except TimeoutError:
            self._count_dropped(name, "stale")
            raise HTTPException(408, "frame upload timed out") from None
        except ClientDisconnect:
            self._count_dropped(name, "client_disconnected")
            raise HTTPException(400, "frame upload was interrupted") from None
        reason, detail = _check_jpeg(jpeg)
        if reason:
            self._count_dropped(name, reason)
            raise HTTPException(422, detail)
        if camera.paused:
            self._count_dropped(name, "paused")
            return
        try:
            overflow = await push_frame(self._broker, name, jpeg)
        except BROKER_ERRORS:
            self._count_dropped(name, "broker_unavailable")
            raise HTTPException(503, "cannot reach Redis; try again shortly") from None
        if overflow:
            self._count_dropped(name, "overflow", overflow)

    def _ack(self, name: str) -> FrameAck:
        status = self._live_state.status(name)
        return FrameAck(
            camera=name,
            state=status.state,
            reason=status.reason,
            privacy=status.privacy,
            fps=self._settings.phone_fps,
        )

    def _count_dropped(self, camera: str, reason: str, count: int = 1) -> None:
        self._metrics.phone_frames_dropped.labels(camera, reason).inc(count)


def _check_jpeg(jpeg: bytes) -> tuple[str, str]:
    """Return drop reason and error of an unusable frame, empty for a usable one.

    Only the JPEG header is read.
    """
    try:
        height, width = simplejpeg.decode_jpeg_header(jpeg)[:2]
    except ValueError:
        return "invalid", "not a JPEG"
    if not is_baseline_jpeg(jpeg):
        return "invalid", "not a baseline JPEG with one scan"
    if not has_allowed_size(height, width):
        return "invalid_size", f"width and height must be 2 to {MAX_PHONE_SIDE_PX} pixels"
    return "", ""


def phone_routes(
    phones: PhoneIngest,
    find_camera: Callable[[str], Camera],
    add_camera: Callable[[Camera], Awaitable[None]],
    page: Path,
) -> APIRouter:
    """Return the routes for phone cameras.

    Args:
        phones: receives the frames.
        find_camera: returns a camera by name or raises an HTTPException.
        add_camera: adds a camera or raises an HTTPException.
        page: HTML file for the phone's browser.
    """
    router = APIRouter()

    @router.get(PAGE_PATH, response_class=FileResponse)
    async def phone_page() -> FileResponse:
        headers = {"Cache-Control": "no-cache", "Permissions-Policy": _CAMERA_ALLOWED}
        return FileResponse(page, headers=headers)

    @router.post("/api/phones", status_code=201)
    async def add_phone(phone: PhoneCreate, request: Request) -> PhoneLink:
        camera = Camera(
            name=phone.name,
            url=SecretStr(new_phone_url()),
            rotate=phone.rotate,
            privacy=phone.privacy,
        )
        await add_camera(camera)
        return phones.link(camera, request)

    # POST instead of GET: viewers may read everything, but must not be able to send frames.
    @router.post("/api/cameras/{name}/phone-link")
    async def show_link(name: str, request: Request) -> PhoneLink:
        return phones.link(find_camera(name), request)

    # The bearer token is the phone's pairing key.
    @router.post(FRAME_PATH, openapi_extra={"requestBody": _JPEG_BODY})
    async def upload_frame(
        request: Request,
        sender: Annotated[
            str, Query(pattern="^[a-z0-9]{8,32}$", description="id of the page, chosen by itself")
        ],
        seq: Annotated[int, Query(ge=1, lt=2**53, description="increasing number of the frame")],
    ) -> FrameAck:
        return await phones.receive_frame(request, sender, seq)

    return router
