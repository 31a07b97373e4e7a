"""Data: data sets as arrays, and normalised examples in random batches."""
