"""Estimate age and gender of every face on live cameras, and count people; no cloud, no GPU.

    from facestream import Predictor
    for face in Predictor().faces_in_file("group.jpg"):
        print(face.box, face.age, face.female)

Importing this package loads nothing heavy: `Predictor` is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from facestream.predict import FacePrediction, Predictor

__version__ = "0.2.0"
__all__ = ["FacePrediction", "Predictor", "__version__"]


def __getattr__(name: str) -> Any:
    if name in ("FacePrediction", "Predictor"):
        import facestream.predict

        return getattr(facestream.predict, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
