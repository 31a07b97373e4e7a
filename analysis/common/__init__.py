"""Helpers that both packages use: errors, files, text that is safe to print, and masking of secrets."""
