"""Presentation of results: the page, the style of figures, numbers as text, and escaping of text."""
