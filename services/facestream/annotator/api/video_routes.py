"""Video routes: MJPEG stream of one camera, multiplexed stream of several, snapshot."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Request, Response

from facestream.annotator.api.streaming_response import LiveStreamResponse, client_of
from facestream.annotator.live_state import LiveState
from facestream.annotator.stream_limit import StreamLimitError
from facestream.annotator.video.camera_feed import CONTENT_TYPE, CameraFeed
from facestream.common.cameras.models import Camera


def video_routes(
    live_state: LiveState, find_camera: Callable[[str], Camera], snapshot_timeout_s: float
) -> APIRouter:
    """Return the routes that serve annotated frames.

    Args:
        live_state: the cameras and their hub.
        find_camera: returns a camera by name or raises 404.
        snapshot_timeout_s: how long a snapshot waits for a fresh frame.
    """
    router = APIRouter()
    hub = live_state.mjpeg_hub

    @router.get("/cameras/{name}/stream.mjpg", response_class=Response)
    async def stream(name: str, request: Request) -> Response:
        find_camera(name)

        def chunks(feeds: list[CameraFeed]) -> AsyncIterator[bytes]:
            return hub.stream(feeds[0])

        return LiveStreamResponse(hub.subscribe([name], client_of(request)), chunks, CONTENT_TYPE)

    @router.get("/api/streams.mjpg", response_class=Response)
    async def multi_stream(
        request: Request, primary: str = "", camera: Annotated[list[str] | None, Query()] = None
    ) -> Response:
        names = list(dict.fromkeys(camera)) if camera else live_state.names()
        for name in names:
            find_camera(name)
        if not names:
            raise HTTPException(404, "no cameras")
        return LiveStreamResponse(
            hub.subscribe(names, client_of(request)),
            lambda feeds: hub.multi_stream(feeds, primary),
            CONTENT_TYPE,
        )

    @router.get("/cameras/{name}/snapshot.jpg", response_class=Response)
    async def snapshot(name: str, request: Request) -> Response:
        find_camera(name)
        try:
            jpeg, is_fresh = await hub.snapshot(name, snapshot_timeout_s, client_of(request))
        except StreamLimitError as error:
            raise HTTPException(503, str(error)) from None
        return Response(
            jpeg,
            200 if is_fresh else 503,
            {"Cache-Control": "no-store", "X-Camera-State": live_state.status(name).state},
            "image/jpeg",
        )

    return router
