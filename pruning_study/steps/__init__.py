"""Steps: each makes one run, dense or pruned, or finds it in the tracking store."""
