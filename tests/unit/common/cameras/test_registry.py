"""The registry of cameras in a real broker."""

import json

import pytest
import redis
from facestream.common.broker import keys
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


@pytest.mark.parametrize(
    "field",
    [
        '"since":NaN',
        '"since":Infinity',
        '"since":-Infinity',
        '"since":1e300',
        '"since":-1',
        '"fps":NaN',
        '"fps":1e9',
        '"width":1000000',
        '"width":16384,"height":16384',
        '"width":-5',
        '"name":"other"',
        '"reason":"' + "x" * 100_000 + '"',
    ],
)
def test_poisoned_status_is_ignored(broker_url: str, field: str) -> None:
    with redis.Redis.from_url(broker_url) as broker:
        valid = '{"name":"door","state":"live","since":1,"fps":15,"width":64,"height":48'
        registry = CameraRegistry(broker)
        broker.set(keys.status_key("door"), valid + "}")
        assert registry.statuses(["door"])[0].state == "live"
        broker.set(keys.status_key("door"), valid + "," + field + "}")
        status = registry.statuses(["door"])[0]
        assert (status.name, status.state, status.fps) == ("door", "connecting", 0)


def test_number_and_size_of_camera_entries_are_limited(broker_url: str) -> None:
    with redis.Redis.from_url(broker_url) as broker:
        entries = {
            f"c{i}": json.dumps({"name": f"c{i}", "url": f"rtsp://h/{i}"}) for i in range(300)
        }
        entries["big"] = json.dumps({"name": "big", "url": "rtsp://h/"}) + " " * 100_000
        broker.hset(keys.CAMERAS_KEY, mapping=entries)
        cameras = CameraRegistry(broker).cameras()
        assert len(cameras) == keys.MAX_CAMERAS
        assert "big" not in cameras
