"""Sources: one reader thread per camera, for FFmpeg and phone sources, with reconnects."""
