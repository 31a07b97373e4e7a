"""Methods compared: ways to prune against a baseline, on the same dense networks."""
