"""Options of `pruning-study`: a table with a record for each option, and the types of these records. No torch needed."""
