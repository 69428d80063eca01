"""Estimate age and gender of the faces in images; no server needed.

from facestream import Predictor
for face in Predictor().faces_in_file("group.jpg"):
    print(face.box, face.age, face.age_low, face.age_high, face.female)
"""

from facestream.predict.predictor import FacePrediction, Predictor

__all__ = ["FacePrediction", "Predictor"]
