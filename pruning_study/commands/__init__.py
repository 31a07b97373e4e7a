"""The implementation of each command, and the results that the public Python functions return."""
