"""Status messages and placeholder images."""

from __future__ import annotations

import dataclasses

import pytest
import simplejpeg
from facestream.annotator.system_status import SystemSnapshot, build_messages
from facestream.annotator.video.placeholder import (
    describe_state,
    format_duration,
    render_placeholder,
)
from facestream.common.cameras.models import CameraState, CameraStatus

NOW = 1_000_000.0
FINE = SystemSnapshot(None, (), 0, None, None)


def status(name: str, state: CameraState, reason: str = "") -> CameraStatus:
    return CameraStatus(name=name, state=state, since=NOW - 65, reason=reason)


def test_without_cameras_the_message_suggests_adding_one() -> None:
    (message,) = build_messages(FINE, NOW)
    assert message.level == "ok"
    assert "Add a camera" in message.text


def test_ok_message_includes_the_latency() -> None:
    cameras = (status("a", "live"), status("b", "live"))
    (message,) = build_messages(
        dataclasses.replace(FINE, cameras=cameras, median_latency_s=0.31), NOW
    )
    assert message.text == "All 2 cameras are live; age and gender take 0.3 s."


def test_worst_message_comes_first_with_camera_duration_and_reason() -> None:
    cameras = (
        status("a", "paused"),
        status("b", "connecting"),
        status("c", "failed", "wrong user or password"),
    )
    messages = build_messages(dataclasses.replace(FINE, cameras=cameras), NOW)
    assert [message.level for message in messages] == ["error", "warning", "ok"]
    assert messages[0].text == "c has been unavailable for 1 min 5 s: wrong user or password."


def test_reason_with_a_question_mark_gets_no_period() -> None:
    cameras = (status("c", "failed", "10.0.0.5:80 refuses: is its server running?"),)
    (message,) = build_messages(dataclasses.replace(FINE, cameras=cameras), NOW)
    assert message.text.endswith("refuses: is its server running?")


def test_a_damaged_counts_file_is_named() -> None:
    name = "counts.sqlite3.corrupt-20260101T120000"
    messages = build_messages(dataclasses.replace(FINE, corrupt_counts_file=name), NOW)
    assert messages[0].level == "warning"
    assert messages[0].text.endswith(f"The old one is {name}.")


def test_faces_without_results_point_to_the_worker() -> None:
    messages = build_messages(dataclasses.replace(FINE, people=1, longest_wait_s=12.0), NOW)
    assert messages[0].level == "error"
    assert "worker" in messages[0].text


def test_new_face_without_result_is_no_error() -> None:
    assert (
        build_messages(dataclasses.replace(FINE, people=1, longest_wait_s=1.0), NOW)[0].level
        == "ok"
    )


def test_slow_inference_is_a_warning() -> None:
    (message,) = build_messages(
        dataclasses.replace(FINE, cameras=(status("a", "live"),), median_latency_s=2.4), NOW
    )
    assert message.level == "warning"
    assert "2.4 s" in message.text


def test_broker_error_hides_all_other_messages() -> None:
    snapshot = dataclasses.replace(
        FINE, broker_error="connection refused", cameras=(status("c", "failed"),)
    )
    (message,) = build_messages(snapshot, NOW)
    assert message.level == "error"
    assert "Connection refused" in message.text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "0 s"), (59.9, "59 s"), (61, "1 min 1 s"), (7260, "2 h 1 min"), (90_000, "1 d 1 h")],
)
def test_duration_has_at_most_two_units(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_placeholder_describes_the_duration() -> None:
    assert describe_state(status("c", "stalled"), NOW).endswith("(1 min 5 s)")


@pytest.mark.parametrize("size", [(0, 0), (1280, 720), (161, 121), (2, 2), (720, 1280)])
def test_placeholder_has_the_frame_size_of_the_camera(size: tuple[int, int]) -> None:
    down = status("c", "failed", "a reason " * 30).model_copy(
        update={"width": size[0], "height": size[1]}
    )
    height, width, _, _ = simplejpeg.decode_jpeg_header(render_placeholder(down, NOW))
    if size[0] > 100:
        assert abs(width - size[0]) <= 1
        assert abs(height - size[1]) <= 1
    assert width > 0


def test_placeholder_shows_the_reason() -> None:
    assert render_placeholder(status("c", "failed", "one"), NOW) != render_placeholder(
        status("c", "failed", "two"), NOW
    )


@pytest.mark.parametrize(("coverage", "is_degraded"), [(0.55, True), (0.9, False), (None, False)])
def test_a_camera_that_is_watched_too_rarely_is_named(
    coverage: float | None, is_degraded: bool
) -> None:
    camera = status("door", "live").model_copy(update={"coverage": coverage})
    (message,) = build_messages(dataclasses.replace(FINE, cameras=(camera,)), NOW)
    assert (message.level == "warning") == is_degraded
    assert ("door is watched too rarely" in message.text) == is_degraded
