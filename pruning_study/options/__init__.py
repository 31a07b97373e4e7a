"""Options of the commands: their dataclasses, protocols, options without effect, and examples."""
