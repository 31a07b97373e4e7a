"""One study: its runs and predictions, their division into cells, and the statistics of every cell and class."""
