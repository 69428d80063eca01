"""Distillation: teacher networks and the soft labels and embeddings made with them."""
