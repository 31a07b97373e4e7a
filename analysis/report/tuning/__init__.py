"""Searches of epsilon: their results, files, figures and section."""
