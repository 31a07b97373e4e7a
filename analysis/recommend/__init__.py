"""The largest pruning ratio within limits, and the command that makes it."""
