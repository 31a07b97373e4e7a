"""Train networks: recipes, the training loop, its engines, resumption, and predictions."""
