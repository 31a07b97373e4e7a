"""The report of a study: a folder for each section, and the code that joins them."""
