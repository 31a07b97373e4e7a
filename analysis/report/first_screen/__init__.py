"""The first screen of a report: accuracy, classes and slopes, and what each file of the report holds."""
