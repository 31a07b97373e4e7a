"""Options of `pruning-study`: a table of one record each, and what its records are made of. It needs no torch."""
