"""The embedded model server: TensorFlow Serving's gRPC API on OpenVINO."""

import os

# Read when gRPC is first imported: of a taken port its core would print a line beside ours.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
