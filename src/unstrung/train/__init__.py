"""Training: recipes, batches, the loop, checkpoints."""
