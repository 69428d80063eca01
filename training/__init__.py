"""Training, evaluation and export of the models that the worker serves."""

import os

# TensorFlow disables oneDNN on CPUs without AVX-512, although it is 1.5 times faster there too.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
