"""Prune networks: score weights, find the number to keep, and make masks."""
