"""The worker: read face crops, run inference on the model server, publish results."""
