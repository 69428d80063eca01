"""The wire contract of TensorFlow Serving, and TLS for gRPC."""
