"""How results look: the page, the style of figures, numbers as text, and text that is safe to show."""
