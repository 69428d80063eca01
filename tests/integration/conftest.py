"""What tests of capture, the model server and the annotator start from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from facestream.common.core.paths import SAMPLES_DIR
from facestream.demo.h264_packetizer import Clip
from facestream.demo.rtsp_server import RtspServer, running
from facestream.model_server.service import ModelServer

from tests.fixtures.annotator import Pipeline, Running
from tests.fixtures.capture import CLIP_FPS, CLIP_HEIGHT, CLIP_WIDTH
from tests.fixtures.model_server_client import Client
from tests.fixtures.polling import wait_for
from tests.fixtures.serving import running_model_server, with_one_model


@pytest.fixture
def pipeline(broker_url: str) -> Iterator[Pipeline]:
    made = Pipeline(broker_url)
    yield made
    made.redis.close()


@pytest.fixture
def annotator(broker_url: str, pipeline: Pipeline) -> Iterator[Running]:
    pipeline.camera("door")
    server = Running(broker_url)
    wait_for(lambda: server.http.get("/api/cameras").json(), "the camera's discovery")
    yield server
    server.end()


@pytest.fixture(scope="module")
def model_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    """A server for all tests that only ask."""
    with running_model_server(with_one_model(tmp_path_factory.mktemp("models"))) as server:
        wait_for(server.repository.served)
        yield server


@pytest.fixture
def model_client(model_server: ModelServer) -> Iterator[Client]:
    client = Client(model_server.port)
    yield client
    client.channel.close()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of two people who move from side to side."""
    file = tmp_path_factory.mktemp("clips") / "people.mp4"
    people = [
        cv2.resize(cv2.imread(str(SAMPLES_DIR / name)), None, fx=scale, fy=scale)
        for name, scale in (("astronaut.jpg", 0.6), ("grace_hopper.jpg", 0.5))
    ]
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=CLIP_FPS)
        stream.width, stream.height, stream.pix_fmt = CLIP_WIDTH, CLIP_HEIGHT, "yuv420p"
        stream.options = {"preset": "ultrafast", "tune": "zerolatency", "g": "8"}
        for i in range(2 * CLIP_FPS):
            canvas = np.full((CLIP_HEIGHT, CLIP_WIDTH, 3), 90, np.uint8)
            shift = int(20 * np.sin(np.pi * i / CLIP_FPS))
            for k, person in enumerate(people):
                cut = person[: CLIP_HEIGHT - 20, :260]
                x = 25 + 310 * k + shift
                canvas[20 : 20 + len(cut), x : x + cut.shape[1]] = cut
            for packet in stream.encode(av.VideoFrame.from_ndarray(canvas, "bgr24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return file


@pytest.fixture(scope="module")
def rtsp(clip: Path) -> Iterator[str]:
    with running(RtspServer({"people": Clip.load(clip)}, port=0)) as server:
        yield f"rtsp://127.0.0.1:{server.port}/people"
