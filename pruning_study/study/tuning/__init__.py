"""Tuning: a search for the best epsilon and schedule of undecayed pruning on validation images."""
