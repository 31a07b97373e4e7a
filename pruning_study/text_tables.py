"""Tables on the terminal."""

from collections.abc import Sequence


def text_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], totals: Sequence[Sequence[str]] = (), *, names: int = 1
) -> str:
    """Rows under a header and above totals, as wide as they have to be.

    Parameters
    ----------
    header : sequence of str
    rows, totals : sequences of sequences of str, as long as `header`
    names : int
        Columns on the left that hold words; those to their right hold numbers.
    """
    widths = [max(len(row[column]) for row in [header, *rows, *totals]) for column in range(len(header))]

    def line(row: Sequence[str]) -> str:
        words = [cell.ljust(width) for cell, width in zip(row[:names], widths, strict=False)]
        numbers = [cell.rjust(width) for cell, width in zip(row[names:], widths[names:], strict=True)]
        return "  ".join([*words, *numbers]).rstrip()

    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    ends = [rule, *map(line, totals)] if totals else []
    return "\n".join([line(header), rule, *map(line, rows), *ends])
