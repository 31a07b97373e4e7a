"""Searches of epsilon: their figures and section."""
