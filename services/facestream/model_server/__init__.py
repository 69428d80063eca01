"""The embedded model server: TensorFlow Serving's gRPC API, implemented with OpenVINO."""

import os

# gRPC reads this when it is first imported. Its core would print a second line about a taken port.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
