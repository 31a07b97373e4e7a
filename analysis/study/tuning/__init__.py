"""Searches of epsilon: their results and files."""
