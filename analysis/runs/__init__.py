"""Define the schema of runs for `analysis` and `pruning_study`, and read runs from a tracking store or from files."""
