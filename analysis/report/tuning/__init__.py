"""The section on searches of epsilon."""
