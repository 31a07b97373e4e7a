"""Names of unknown origin, made fit for pictures."""

import warnings

from analysis.runs.printable import printable

LONGEST_NAME = 60

# A letter that the font lacks is drawn as a box; a line of warning for each such letter would help nobody.
warnings.filterwarnings("ignore", message="Glyph .* missing from font")


def name_in_picture(name: str, longest: int = LONGEST_NAME) -> str:
    """Return a name as pictures show it: a long one is cut, and control characters are written as escapes."""
    shown = printable(name[: longest + 1])
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"


def name_in_legend(name: str) -> str:
    """Return a name with a space before an underscore, at which matplotlib would leave it out of the legend."""
    return f" {name}" if name.startswith("_") else name
