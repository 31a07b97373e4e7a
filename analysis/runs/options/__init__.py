"""Options of `pruning-study`: a table with a record for each, and the parts of a record. Torch is not needed."""
