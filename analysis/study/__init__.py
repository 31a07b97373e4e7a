"""One study: its runs and predictions, what makes a cell, and the statistics of every cell and class."""
