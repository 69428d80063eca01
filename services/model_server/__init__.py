"""The embedded model server: TensorFlow Serving's gRPC API on OpenVINO."""
