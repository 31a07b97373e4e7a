"""Searches of chains in a report."""
