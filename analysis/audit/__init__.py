"""The audit of one compressed model, from files, folders or runs, and class offsets that spare classes."""
