"""Tests of `facestream predict` on real images with the real detector and model."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from facestream.cli import main
from facestream.common.core.paths import SAMPLES_DIR
from facestream.common.vision.face_detector import Detections, FaceDetector
from facestream.predict import Predictor
from numpy.typing import NDArray


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_known_people_get_plausible_predictions() -> None:
    predictor = Predictor()
    astronaut = predictor.faces_in_file(SAMPLES_DIR / "astronaut.jpg")
    assert len(astronaut) == 1
    assert astronaut[0].female is not None
    assert astronaut[0].female > 0.5
    assert astronaut[0].age is not None
    assert 20 < astronaut[0].age < 60


def test_folder_with_an_unreadable_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "good.jpg").write_bytes((SAMPLES_DIR / "astronaut.jpg").read_bytes())
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8 cut")
    cv2.imwrite(str(tmp_path / "empty.png"), np.full((100, 100, 3), 128, np.uint8))
    code = main(["predict", str(tmp_path), "--json", "--output-dir", str(tmp_path / "out")])
    captured = capsys.readouterr()
    records = [json.loads(line) for line in captured.out.splitlines()]
    assert code == 1
    assert {Path(str(r["path"])).name: r["box"] is None for r in records} == {
        "empty.png": True,
        "good.jpg": False,
    }
    assert "bad.jpg" in captured.err
    assert (tmp_path / "out" / "good.jpg").exists()


@pytest.mark.parametrize("out", [".", "a"])
def test_copy_never_overwrites_an_original(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], out: str
) -> None:
    image = cv2.imencode(".jpg", np.full((64, 64, 3), 128, np.uint8))[1].tobytes()
    (tmp_path / "a").mkdir()
    originals = [tmp_path / "x.jpg", tmp_path / "a" / "x.jpg"]
    for original in originals:
        original.write_bytes(image)
    assert main(["predict", str(tmp_path), "--output-dir", str(tmp_path / out)]) == 2
    assert "would overwrite an original; choose another folder" in capsys.readouterr().err
    assert [original.read_bytes() for original in originals] == [image, image]


@pytest.mark.parametrize("shape", [(4, 8000, 3), (8000, 4, 3)])
def test_very_narrow_image_has_no_face(shape: tuple[int, int, int]) -> None:
    assert Predictor().faces(np.full(shape, 128, np.uint8)) == []


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_rotated_phone_image_is_read_upright(tmp_path: Path, orientation: int) -> None:
    image = cv2.imread(str(SAMPLES_DIR / "astronaut.jpg"))
    turns = {3: cv2.ROTATE_180, 6: cv2.ROTATE_90_COUNTERCLOCKWISE, 8: cv2.ROTATE_90_CLOCKWISE}
    stored = cv2.rotate(image, turns[orientation]) if orientation in turns else image
    jpeg = cv2.imencode(".jpg", stored)[1].tobytes()
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0" + bytes([orientation, 0, 0])
    exif += b"\0\0\0\0"
    segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    file = tmp_path / "turned.jpg"
    file.write_bytes(jpeg[:2] + segment + jpeg[2:])
    faces = Predictor().faces_in_file(file)
    upright = Predictor().faces_in_file(SAMPLES_DIR / "astronaut.jpg")
    assert faces[0].box == pytest.approx(upright[0].box, abs=8)


def test_video_gives_frames_by_interval(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import av

    image = cv2.resize(cv2.imread(str(SAMPLES_DIR / "astronaut.jpg")), (320, 320))
    clip = tmp_path / "clip.mp4"
    with av.open(str(clip), "w") as output:
        stream = output.add_stream("libx264", rate=10)
        stream.width = stream.height = 320
        for _ in range(20):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(image, "bgr24")))
        output.mux(stream.encode(None))
    assert main(["predict", str(clip), "--json", "--frame-interval-s", "0.5", "--per-frame"]) == 0
    assert len(lines_of(capsys)) == 4


def test_video_gives_one_line_per_person_and_an_annotated_copy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import av

    image = cv2.resize(cv2.imread(str(SAMPLES_DIR / "astronaut.jpg")), (320, 320))
    clip = tmp_path / "clip.mkv"
    with av.open(str(clip), "w") as output:
        stream = output.add_stream("libx264", rate=10)
        stream.width = stream.height = 320
        for _ in range(20):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(image, "bgr24")))
        output.mux(stream.encode(None))
    out = tmp_path / "out"
    assert main(["predict", str(clip), "--json", "--output-dir", str(out)]) == 0
    (person,) = lines_of(capsys)
    assert (person["person"], person["first_s"], person["last_s"]) == (1, 0.0, 1.8)
    assert person["observations"] == 10
    female = person["female"]
    assert isinstance(female, float)
    assert female > 0.5
    with av.open(str(out / "clip.mkv.mp4")) as copy:
        assert copy.streams.video[0].codec_context.name == "h264"
        frames = list(copy.decode(video=0))
        assert len(frames) == 20
        assert frames[-1].time == pytest.approx(1.9, abs=0.02)


def test_unmatched_name_is_reported_in_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["predict", "nowhere/*.jpg"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    expected = "facestream: nowhere/*.jpg: no such file, folder or pattern; skipped\n"
    assert captured.err == expected


def test_unmatched_name_does_not_stop_the_others(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["predict", "nowhere.jpg", str(SAMPLES_DIR / "obama.jpg"), "--json"]) == 1
    captured = capsys.readouterr()
    assert "nowhere.jpg" in captured.err
    assert [Path(str(json.loads(line)["path"])).name for line in captured.out.splitlines()] == [
        "obama.jpg"
    ]


def test_model_that_does_not_load_is_reported_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"rubbish")
    assert main(["predict", str(SAMPLES_DIR / "obama.jpg"), "--model", str(tmp_path)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"facestream: {tmp_path}: does not load: ")
    assert "parsed" in line


def record_detections(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Record the size of every detection from now on."""
    sizes: list[tuple[int, int]] = []
    detect = FaceDetector.detect

    def counted(self: FaceDetector, image: NDArray[np.uint8]) -> Detections:
        sizes.append((self.width, self.height))
        return detect(self, image)

    monkeypatch.setattr(FaceDetector, "detect", counted)
    return sizes


def test_portrait_needs_one_detection_at_half_size(monkeypatch: pytest.MonkeyPatch) -> None:
    image = cv2.resize(cv2.imread(str(SAMPLES_DIR / "obama.jpg")), (480, 540))
    canvas = np.full((640, 640, 3), 128, np.uint8)
    canvas[100:, 80:560] = image
    sizes, predictor = record_detections(monkeypatch), Predictor()
    (face,) = predictor.faces(canvas)
    assert sizes == [(320, 320)]
    full = FaceDetector(640, 640).detect(canvas)
    assert face.box == pytest.approx(tuple(full.boxes[0]), abs=0.15 * float(full.boxes[0][2]))


def test_small_face_beside_a_large_one_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    canvas = np.full((640, 640, 3), 128, np.uint8)
    canvas[100:, :480] = cv2.resize(cv2.imread(str(SAMPLES_DIR / "obama.jpg")), (480, 540))
    canvas[300:430, 500:612] = cv2.resize(
        cv2.imread(str(SAMPLES_DIR / "grace_hopper.jpg")), (112, 130), interpolation=cv2.INTER_AREA
    )
    sizes = record_detections(monkeypatch)
    faces = Predictor().faces(canvas)
    assert sizes == [(320, 320), (640, 640)]
    assert sorted(face.box[0] > 480 for face in faces) == [False, True]
    batch = Predictor().faces_in_batch([canvas, canvas[:100], canvas[:, :480]])
    assert [len(found) for found in batch] == [2, 0, 1]


def test_large_uncertain_candidate_is_refined_in_a_crop(monkeypatch: pytest.MonkeyPatch) -> None:
    portrait = cv2.imread(str(SAMPLES_DIR / "obama.jpg"))
    canvas = np.full((640, 640, 3), 128, np.uint8)
    canvas[20:340, :280] = cv2.resize(portrait, (280, 320))
    canvas[240:640, 285:635] = cv2.GaussianBlur(cv2.resize(portrait, (350, 400)), (0, 0), 22)
    sizes = record_detections(monkeypatch)
    (face,) = Predictor().faces(canvas)
    assert face.box[0] < 280
    assert sizes == [(320, 320), (160, 160)]
