"""Read data sets into arrays, and draw random batches of normalised examples."""
