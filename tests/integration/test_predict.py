"""`facestream predict` on real pictures with the real detector and model."""

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


def test_known_people_are_guessed_plausibly() -> None:
    predictor = Predictor()
    astronaut = predictor.faces_in_file(SAMPLES_DIR / "astronaut.jpg")
    assert len(astronaut) == 1
    assert astronaut[0].female is not None
    assert astronaut[0].female > 0.5
    assert astronaut[0].age is not None
    assert 20 < astronaut[0].age < 60


def test_a_folder_and_a_bad_file_in_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "good.jpg").write_bytes((SAMPLES_DIR / "astronaut.jpg").read_bytes())
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8 cut")
    cv2.imwrite(str(tmp_path / "empty.png"), np.full((100, 100, 3), 128, np.uint8))
    code = main(["predict", str(tmp_path), "--json", "--out", str(tmp_path / "out")])
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
def test_no_copy_takes_the_place_of_an_original(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], out: str
) -> None:
    picture = cv2.imencode(".jpg", np.full((64, 64, 3), 128, np.uint8))[1].tobytes()
    (tmp_path / "a").mkdir()
    originals = [tmp_path / "x.jpg", tmp_path / "a" / "x.jpg"]
    for original in originals:
        original.write_bytes(picture)
    assert main(["predict", str(tmp_path), "--out", str(tmp_path / out)]) == 2
    assert "is one of the originals; choose another folder" in capsys.readouterr().err
    assert [original.read_bytes() for original in originals] == [picture, picture]


@pytest.mark.parametrize("shape", [(4, 8000, 3), (8000, 4, 3)])
def test_a_picture_like_a_thread_has_no_face(shape: tuple[int, int, int]) -> None:
    assert Predictor().faces(np.full(shape, 128, np.uint8)) == []


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_turned_phone_picture_is_read_upright(tmp_path: Path, orientation: int) -> None:
    picture = cv2.imread(str(SAMPLES_DIR / "astronaut.jpg"))
    turns = {3: cv2.ROTATE_180, 6: cv2.ROTATE_90_COUNTERCLOCKWISE, 8: cv2.ROTATE_90_CLOCKWISE}
    stored = cv2.rotate(picture, turns[orientation]) if orientation in turns else picture
    jpeg = cv2.imencode(".jpg", stored)[1].tobytes()
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0" + bytes([orientation, 0, 0])
    exif += b"\0\0\0\0"
    segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    file = tmp_path / "turned.jpg"
    file.write_bytes(jpeg[:2] + segment + jpeg[2:])
    faces = Predictor().faces_in_file(file)
    upright = Predictor().faces_in_file(SAMPLES_DIR / "astronaut.jpg")
    assert faces[0].box == pytest.approx(upright[0].box, abs=8)


def test_a_video_gives_its_frames(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import av

    picture = cv2.resize(cv2.imread(str(SAMPLES_DIR / "astronaut.jpg")), (320, 320))
    clip = tmp_path / "clip.mp4"
    with av.open(str(clip), "w") as output:
        stream = output.add_stream("libx264", rate=10)
        stream.width = stream.height = 320
        for _ in range(20):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "bgr24")))
        output.mux(stream.encode(None))
    assert main(["predict", str(clip), "--json", "--every-s", "0.5"]) == 0
    assert len(lines_of(capsys)) == 4


def test_a_name_that_fits_nothing_is_said_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "nowhere/*.jpg"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    expected = "facestream: nowhere/*.jpg: no such file, folder or pattern; skipped\n"
    assert captured.err == expected


def test_a_name_that_fits_nothing_stops_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "nowhere.jpg", str(SAMPLES_DIR / "obama.jpg"), "--json"]) == 1
    captured = capsys.readouterr()
    assert "nowhere.jpg" in captured.err
    assert [Path(str(json.loads(line)["path"])).name for line in captured.out.splitlines()] == [
        "obama.jpg"
    ]


def test_a_model_that_does_not_load_is_said_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"rubbish")
    assert main(["predict", str(SAMPLES_DIR / "obama.jpg"), "--model", str(tmp_path)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"facestream: {tmp_path}: does not load: ")
    assert "parsed" in line


def looks(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The sizes that detectors are asked at from now on."""
    sizes: list[tuple[int, int]] = []
    detect = FaceDetector.detect

    def counted(self: FaceDetector, picture: NDArray[np.uint8]) -> Detections:
        sizes.append((self.width, self.height))
        return detect(self, picture)

    monkeypatch.setattr(FaceDetector, "detect", counted)
    return sizes


def test_a_portrait_needs_one_look_at_half_size(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = cv2.resize(cv2.imread(str(SAMPLES_DIR / "obama.jpg")), (480, 540))
    canvas = np.full((640, 640, 3), 128, np.uint8)
    canvas[100:, 80:560] = picture
    sizes, predictor = looks(monkeypatch), Predictor()
    (face,) = predictor.faces(canvas)
    assert sizes == [(320, 320)]
    full = FaceDetector(640, 640).detect(canvas)
    assert face.box == pytest.approx(tuple(full.boxes[0]), abs=0.15 * float(full.boxes[0][2]))


def test_a_small_face_beside_a_large_one_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    canvas = np.full((640, 640, 3), 128, np.uint8)
    canvas[100:, :480] = cv2.resize(cv2.imread(str(SAMPLES_DIR / "obama.jpg")), (480, 540))
    canvas[300:430, 500:612] = cv2.resize(
        cv2.imread(str(SAMPLES_DIR / "grace_hopper.jpg")), (112, 130), interpolation=cv2.INTER_AREA
    )
    sizes = looks(monkeypatch)
    faces = Predictor().faces(canvas)
    assert sizes == [(320, 320), (640, 640)]
    assert sorted(face.box[0] > 480 for face in faces) == [False, True]
    together = Predictor().faces_of_each([canvas, canvas[:100], canvas[:, :480]])
    assert [len(found) for found in together] == [2, 0, 1]


def test_what_is_large_but_in_doubt_is_looked_at_closely(monkeypatch: pytest.MonkeyPatch) -> None:
    portrait = cv2.imread(str(SAMPLES_DIR / "obama.jpg"))
    canvas = np.full((640, 640, 3), 128, np.uint8)
    canvas[20:340, :280] = cv2.resize(portrait, (280, 320))
    canvas[240:640, 285:635] = cv2.GaussianBlur(cv2.resize(portrait, (350, 400)), (0, 0), 22)
    sizes = looks(monkeypatch)
    (face,) = Predictor().faces(canvas)
    assert face.box[0] < 280
    assert sizes == [(320, 320), (160, 160)]
