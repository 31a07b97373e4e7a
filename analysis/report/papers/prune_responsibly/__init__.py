"""The analyses of Paganini, "Prune responsibly", on a study's iteratively pruned networks."""
