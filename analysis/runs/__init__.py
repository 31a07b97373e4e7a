"""Runs: the schema that both packages share, and the reading of runs from a tracking store or from files."""
