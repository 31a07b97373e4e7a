"""Compare pruning methods with a baseline, on the same dense networks."""
