"""Paganini, Prune responsibly: its analyses on a study's iteratively pruned networks."""
