"""Records: medians, the table, and which ratios count as worse."""

import copy
from pathlib import Path
from typing import Any

import pytest
from facestream.common.core.errors import SettingsError
from facestream.common.core.paths import CHECKOUT

from benchmarks.report import build_record, find_regressions, format_table, read, write

RECORDS = CHECKOUT / "benchmarks" / "records"
SERVICES = ("broker", "capture")


TRIAL = {
    "cameras": 16,
    "cpu_ms_per_frame": 5.0,
    "frames_received": 1.0,
    "late_p95_ms": 20.0,
    "detection_share": 0.75,
}


def figures() -> dict[str, Any]:
    by_service = {name: [1.0, 2.0, 3.0] for name in SERVICES}
    cpu = {
        kind: [6.0, 5.0, 7.0]
        for kind in (
            "unwatched",
            "watched",
            "empty",
            "empty_capture",
            "lower_bound",
            "empty_lower_bound",
        )
    }
    latencies = ("frame", "result", "detection")
    return {
        "cpu_ms_per_frame": cpu
        | {
            "baseline": [90.0, 100.0, 95.0],
            "per_extra_viewer": [None, None, None],
            "unwatched_by_service": by_service,
            "watched_by_service": by_service,
            "stages": {"capture jpeg": [2.0, 2.5, 2.1]},
        },
        "ratios": {
            "unwatched_to_lower_bound": [3.0, 3.2, 3.1],
            "watched_to_baseline": [0.12, 0.10, 0.11],
        },
        "cpu_ms_per_face": [10.0, None, 12.0],
        "network_ms_per_face": {"openvino": [4.0], "tensorflow": [None]},
        "faces_per_frame": [0.2, 0.2, 0.2],
        "frames_received": [1.0, 1.0, 0.9],
        "detections_per_second": [4.0, 4.2, 3.9],
        "detection_share": [1.0, 1.0, 0.9],
        "baseline_faces_per_frame": [1.2, 1.2, 1.2],
        "latency_ms": {f"{n}_p{p}": [80.0 + p] for n in latencies for p in (50, 95, 99)},
        "rss_mb": {name: [100.0] for name in SERVICES},
        "start_s": [6.0],
        "sizes": {},
        "streams": {"carried": 12, "read": 16, "trials": [TRIAL]},
        "clip": "demo.mp4",
    }


def record() -> dict[str, Any]:
    return build_record(figures(), "not measured", 0.2)


def test_a_record_has_the_keys_that_others_read() -> None:
    made = record()
    assert made["cpu_ms_per_frame"]["unwatched"] == 6.0
    assert made["cpu_ms_per_frame"]["baseline"] == 95.0
    assert made["cpu_ms_per_face"] == 11.0
    assert made["streams_720p15"] == 12
    assert made["latency_ms"]["result_p95"] == 175.0
    assert made["rss_mb"]["capture"] == 100.0


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    made = record()
    write(made, path)
    assert read(path) == made
    shown = format_table(read(path))
    assert "| CPU per camera frame: baseline with a viewer | 95.00 ms (90.00 to 100.00) |" in shown
    assert "| CPU per camera frame: each additional viewer (annotator) | not measured |" in shown
    assert "| CPU per face, the network alone on openvino | 4.00 ms |" in shown
    assert "| 12; 16 with fewer detections per second |" in shown
    assert "100% received, p95 20 ms late, 75% of the detections ran |" in shown


@pytest.mark.parametrize("path", sorted(RECORDS.glob("*-cores*.json")), ids=lambda path: path.stem)
def test_records_of_older_versions_are_shown(path: Path) -> None:
    if path.stem.endswith(("-growth", "-scaling", "-earlier")):
        with pytest.raises(SettingsError, match="not a record"):
            read(path)
    else:
        assert "| CPU per camera frame: lower bound: decoding alone |" in format_table(read(path))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"rounds": {}}'])
def test_what_is_no_record_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "record.json"
    path.write_text(text)
    with pytest.raises(SettingsError, match="not a record"):
        read(path)
    with pytest.raises(SettingsError, match="No such file"):
        read(tmp_path / "missing.json")


def test_a_ratio_is_worse_when_it_leaves_the_spread() -> None:
    old = record()
    assert find_regressions(old, old) == []
    new = copy.deepcopy(old)
    new["rounds"]["ratios"]["unwatched_to_lower_bound"] = [
        3.2,
        3.3,
        3.25,
    ]  # +0.15 of a spread of 0.2
    assert find_regressions(new, old) == []
    new["rounds"]["ratios"]["unwatched_to_lower_bound"] = [3.4, 3.5, 3.45]
    (line,) = find_regressions(new, old)
    assert line.startswith("unwatched / decoding alone: 3.45, was 3.1")
    assert find_regressions(old, new) == [], "better is not worse"


def test_a_noisy_run_proves_nothing() -> None:
    old, new = record(), record()
    new["rounds"]["ratios"]["unwatched_to_lower_bound"] = [2.9, 3.6, 4.0]
    assert find_regressions(new, old) == []


def test_rounds_that_agree_by_chance_make_no_alarm_of_a_trifle() -> None:
    old, new = record(), record()
    old["rounds"]["ratios"]["unwatched_to_lower_bound"] = [3.0, 3.0, 3.0]
    new["rounds"]["ratios"]["unwatched_to_lower_bound"] = [3.1, 3.1, 3.1]
    assert find_regressions(new, old) == []


def test_a_ratio_that_one_of_them_lacks_is_passed_over() -> None:
    old, new = record(), record()
    old["rounds"]["ratios"]["unwatched_to_third_party"] = [0.1, 0.1, 0.1]
    assert find_regressions(new, old) == []


def test_a_machine_that_did_not_keep_up_proves_nothing() -> None:
    old, new = record(), record()
    new["rounds"]["detection_share"] = [0.6, 0.8, 0.88]
    (line,) = find_regressions(new, old)
    assert line.startswith("not comparable: only 80% of the due detections")
