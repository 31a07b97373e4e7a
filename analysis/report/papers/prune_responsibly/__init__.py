"""Prune responsibly: Paganini, on the networks of any study that were pruned iteratively."""
