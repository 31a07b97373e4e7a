"""The first screen of a report: accuracy, classes and slopes, and what the report's files contain."""
