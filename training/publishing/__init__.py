"""Publishing: export as SavedModel, model card and serving warmup."""
