"""Recommend the largest pruning ratio within limits, and the command that prunes to it."""
