"""Camera in, faces out: reads every camera, finds and follows faces, sends crops to the workers."""
