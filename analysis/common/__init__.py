"""Helpers of both `analysis` and `pruning_study`: errors, files, text that is safe to print, and masking of secrets."""
