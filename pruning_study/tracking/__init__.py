"""Tracking: the only code of this package that writes to MLflow."""
