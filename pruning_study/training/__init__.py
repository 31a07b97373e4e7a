"""Training: recipes, the loop, its engines, resumption, and what a trained model predicts."""
