"""Tuning: a search, on validation images, for the best epsilon and schedule of undecayed pruning."""
