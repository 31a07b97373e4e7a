"""Tuning: a search of undecayed pruning's epsilon and schedule on validation images."""
