"""Options of `pruning-study`: a table of records, and the types of these. Importing them does not import torch."""
