"""Steps, each of which finds one run in the tracking store or makes it."""
