"""Define the schema of runs for both packages, and read runs from a tracking store or from files."""
