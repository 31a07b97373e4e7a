"""The report of a study: its sections, each in a folder, and the loop over them."""
