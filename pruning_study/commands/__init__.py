"""What each command does, and what the functions for Python return."""
