"""Training data: UTKFace, face crops, augmentation, batches and targets."""
