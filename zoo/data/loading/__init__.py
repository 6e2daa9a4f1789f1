"""From samples to batches: augmentation, workers."""
