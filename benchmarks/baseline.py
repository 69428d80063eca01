"""Run the baseline: the straightforward implementation, as a program of its own.

OpenCV reads the camera, YuNet detects in each whole frame, two 224-pixel networks infer every face
of every frame one after the other, and each viewer's JPEG is encoded separately. The networks run
on OpenVINO, which favors the baseline over the runtimes that such projects use. Prints one line of
JSON: frames, faces, CPU seconds, and the CPU seconds spent on encoding.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import cv2
import numpy as np
from facestream.common.core.paths import FACE_DETECTOR_FILE
from facestream.common.vision.openvino_runtime import ov

_SIZE_PX = 224


def main() -> None:
    """Process a camera for some seconds and print the cost."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("model", type=Path)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--viewers", type=int, default=1)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    networks = [_network(arguments.model) for _ in ("age", "gender")]
    camera = cv2.VideoCapture(arguments.url)
    detector = None
    frames = faces = 0
    encoding = 0.0
    started, cpu = time.monotonic(), time.process_time()
    while time.monotonic() - started < arguments.seconds:
        success, frame = camera.read()
        if not success:
            break
        if detector is None:
            detector = cv2.FaceDetectorYN.create(
                str(FACE_DETECTOR_FILE), "", frame.shape[1::-1], 0.6
            )
            started, cpu = time.monotonic(), time.process_time()
        _, found = detector.detect(frame)
        for face in found if found is not None else ():
            x, y, w, h = (max(0, int(v)) for v in face[:4])
            crop = frame[y : y + h, x : x + w]
            if crop.size == 0:
                continue
            faces += 1
            crop = cv2.cvtColor(cv2.resize(crop, (_SIZE_PX, _SIZE_PX)), cv2.COLOR_BGR2RGB)
            predictions = [network([crop[None]]) for network in networks]
            age, female = float(predictions[0]["age"][0]), float(predictions[1]["gender"][0])
            cv2.rectangle(frame, (x, y), (x + w, y + h), (0, 255, 0), 2)
            text = f"{age:.0f} {'F' if female > 0.5 else 'M'}"
            cv2.putText(frame, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 1, (0, 255, 0), 2)
        began = time.thread_time()
        for _ in range(arguments.viewers):
            cv2.imencode(".jpg", frame)
        encoding += time.thread_time() - began
        frames += 1
    cpu = time.process_time() - cpu
    print(json.dumps({"frames": frames, "faces": faces, "cpu_s": cpu, "encoding_s": encoding}))


def _network(folder: Path) -> ov.CompiledModel:
    core = ov.Core()
    model = core.read_model(folder)
    model.reshape([1, _SIZE_PX, _SIZE_PX, 3])
    compiled = core.compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": 1})
    compiled(np.zeros((1, _SIZE_PX, _SIZE_PX, 3), np.uint8))
    return compiled


if __name__ == "__main__":
    main()
