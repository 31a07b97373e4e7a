"""The report's section on searches of compression chains."""
