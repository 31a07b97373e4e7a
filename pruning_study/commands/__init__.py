"""The work of each command, and the results that the Python functions return."""
