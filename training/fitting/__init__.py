"""Fitting: training loop, losses and checkpoints."""
