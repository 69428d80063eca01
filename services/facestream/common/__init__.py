"""Libraries that several services need; no service and no TensorFlow is imported here."""
