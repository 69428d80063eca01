"""Publishing of frames and faces to the streams of the broker."""
