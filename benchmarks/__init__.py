"""`facestream bench`: this pipeline and the plain way on the same clip and machine."""
