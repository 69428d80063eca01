"""The registry of cameras in a real broker."""

import redis
from facestream.common.broker.keys import CAMERAS_KEY
from facestream.common.cameras.models import Camera, CameraStatus
from facestream.common.cameras.registry import CameraRegistry


def test_the_registry_stores_cameras_and_states(broker_url: str) -> None:
    with redis.Redis.from_url(broker_url) as broker:
        registry = CameraRegistry(broker)
        registry.upsert(Camera.parse("door=rtsp://host/live"))
        registry.upsert(Camera.parse("till=rtsp://host/live"))
        registry.publish_statuses([CameraStatus(name="door", state="live", since=1.0, fps=15)])
        assert {s.name: s.state for s in registry.statuses()} == {
            "door": "live",
            "till": "connecting",
        }
        registry.mark_watched("till")
        assert registry.watched_cameras(["door", "till"]) == {"till"}
        assert registry.remove("door")
        assert not registry.remove("door")
        assert list(registry.cameras()) == ["till"]


def test_registry_reads_cameras_of_0_1_0_and_ignores_invalid_ones(broker_url: str) -> None:
    with redis.Redis.from_url(broker_url) as broker:
        old = '{"name": "door", "url": "rtsp://host/live", "privacy": "live"}'
        broker.hset(CAMERAS_KEY, mapping={"door": old, "till": "{", "yard": '{"name": "yard"}'})
        cameras = CameraRegistry(broker).cameras()
    assert {name: camera.privacy for name, camera in cameras.items()} == {"door": "full"}
