"""Steps: each finds one run in the tracking store, or makes it."""
