"""The options of every command: their checks, help, sections and idle combinations, and protocols."""
