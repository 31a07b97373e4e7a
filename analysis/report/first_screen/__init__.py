"""The first screen of a report: accuracy, classes and slopes, and the contents of the report's files."""
