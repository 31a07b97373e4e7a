"""Pruning: scores of weights, the number of weights to keep, and masks."""
