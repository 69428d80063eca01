"""The worker: face crops in, answers of the model server out."""
