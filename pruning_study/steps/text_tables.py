"""Tables on the terminal."""

from collections.abc import Sequence

from tabulate import SEPARATING_LINE, tabulate

from analysis.common.printable import printable


def text_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], totals: Sequence[Sequence[str]] = (), *, names: int = 1
) -> str:
    """Return rows under a header and above totals as text.

    Parameters
    ----------
    header : sequence of str
    rows, totals : sequences of sequences of str, as long as `header`
    names : int
        Number of columns on the left that hold words; the others hold numbers and are aligned on the right.
    """
    (header,), printable_rows, printable_totals = (
        [[printable(cell) for cell in row] for row in part] for part in ([header], rows, totals)
    )
    lines = [*printable_rows, SEPARATING_LINE, *printable_totals] if totals else printable_rows
    align = ["left"] * names + ["right"] * (len(header) - names)
    table = tabulate(lines, header, tablefmt="simple", colalign=align, disable_numparse=True)
    return "\n".join(line.rstrip() for line in table.splitlines())
