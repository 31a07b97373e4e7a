"""A report's sections as HTML and Markdown."""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from analysis import formats
from analysis.runs import files

# Characters of a cell of a table, beyond which it is words and not a value with its interval.
_LONGEST_NUMBER = 60


@dataclass
class Section:
    """A heading and what stands under it, in order."""

    title: str
    blocks: Sequence[str | pd.DataFrame | Figure]


@dataclass
class Report:
    """All that a report consists of.

    Parameters
    ----------
    title, verdict : str
        The verdict is two sentences.
    to_know : list of str
        What a reader has to know before any number.
    csv : dict of file name -> DataFrame
    figures : dict of name -> Figure
    sections : list of Section
    """

    title: str
    verdict: str
    to_know: list[str]
    csv: dict[str, pd.DataFrame]
    figures: dict[str, Figure]
    sections: list[Section]


def figures_with_prefix(drawn: Mapping[str, Figure], prefix: str) -> list[Figure]:
    return [figure for name, figure in drawn.items() if name.startswith(prefix)]


def write(result: Report, output: Path) -> list[Path]:
    """Write report.html, report.md, the tables as CSV and the figures as SVG and PNG, each aside and then renamed.

    Returns
    -------
    list of Path
        The files written, relative to `output`.

    Raises
    ------
    StudyError
        Where the folder cannot be made or written to.
    """
    with files.aside(output) as folder:
        (folder / "figures").mkdir()
        for name, table in result.csv.items():
            table.to_csv(folder / name, index=False, na_rep=formats.NOT_AVAILABLE)
        drawings = {name: _svg(figure) for name, figure in result.figures.items()}
        for name, figure in result.figures.items():
            (folder / "figures" / f"{name}.svg").write_bytes(drawings[name])
            figure.savefig(folder / "figures" / f"{name}.png")
        (folder / "report.md").write_text(_markdown(result), encoding="utf-8")
        (folder / "report.html").write_text(_html(result, drawings), encoding="utf-8")
        return files.written(folder)


def _svg(figure: Figure) -> bytes:
    content = io.BytesIO()
    # The same study gives the same file: no date, ids that do not change, text that can be searched.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "report"}):
        figure.savefig(content, format="svg", metadata={"Date": None})
    return content.getvalue()


def _markdown(result: Report) -> str:
    names = {id(figure): name for name, figure in result.figures.items()}

    def block(content: str | pd.DataFrame | Figure) -> str:
        if isinstance(content, Figure):
            return f"![{names[id(content)]}](figures/{names[id(content)]}.png)"
        return content if isinstance(content, str) else markdown_table(content)

    parts = [f"# {result.title}", f"**{result.verdict}**", *result.to_know]
    for section in result.sections:
        parts += [f"## {section.title}", *map(block, section.blocks)]
    return "\n\n".join(parts) + "\n"


def markdown_table(table: pd.DataFrame) -> str:
    """A table as Markdown, its index left out."""
    rows = [table.columns, ["---"] * table.shape[1], *table.to_numpy()]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows)


def _html(result: Report, drawings: Mapping[str, bytes]) -> str:
    drawing_of = {id(figure): drawings[name] for name, figure in result.figures.items()}

    def block(content: str | pd.DataFrame | Figure) -> str:
        return _html_picture(content, drawing_of[id(content)]) if isinstance(content, Figure) else _html_block(content)

    contents = "".join(
        f'<li><a href="#s{index}">{html.escape(section.title)}</a></li>'
        for index, section in enumerate(result.sections)
    )
    known = "".join(f"<p>{html.escape(said)}</p>" for said in result.to_know)
    body = "".join(
        f'<h2 id="s{index}">{html.escape(section.title)}</h2>' + "".join(map(block, section.blocks))
        for index, section in enumerate(result.sections)
    )
    title = html.escape(result.title)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body><h1>{title}</h1>'
        f'<p class="verdict">{html.escape(result.verdict)}</p>{known}<nav><ol>{contents}</ol></nav>{body}'
        "</body></html>\n"
    )


def _html_picture(figure: Figure, drawing: bytes) -> str:
    data = base64.b64encode(drawing).decode()
    return f'<img alt="{html.escape(_title(figure))}" src="data:image/svg+xml;base64,{data}">'


def _html_block(content: str | pd.DataFrame) -> str:
    if isinstance(content, pd.DataFrame):
        table = content.to_html(index=False, border=0, escape=True)
        prose = " prose" if content.astype("str").map(len).to_numpy().max(initial=0) > _LONGEST_NUMBER else ""
        return f'<div class="table{prose}">{table}</div>'
    if content.startswith("- "):
        items = "".join(f"<li>{html.escape(line.removeprefix('- '))}</li>" for line in content.split("\n"))
        return f"<ul>{items}</ul>"
    return f"<p>{_strong(html.escape(content))}</p>"


def _strong(text: str) -> str:
    parts = text.split("**")
    return "".join(f"<strong>{part}</strong>" if place % 2 else part for place, part in enumerate(parts))


def _title(figure: Figure) -> str:
    suptitle = figure.get_suptitle()
    return suptitle or next((axes.get_title() for axes in figure.axes if axes.get_title()), "figure")


_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:75rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a}"
    ".verdict{font-size:1.15rem;background:#f2f5f8;border-left:4px solid #0072b2;padding:1rem}"
    "img{max-width:100%;height:auto;display:block;margin:1rem 0}"
    ".table{overflow-x:auto;max-height:40rem;overflow-y:auto;margin:1rem 0}"
    "table{border-collapse:collapse;font-size:.85rem;font-variant-numeric:tabular-nums}"
    "th,td{padding:.25rem .6rem;text-align:right;border-bottom:1px solid #ddd;white-space:nowrap}"
    ".prose td{white-space:normal;vertical-align:top;min-width:9rem}.prose td:first-child{min-width:0}"
    ".prose td,.prose th{text-align:left}"
    "th{position:sticky;top:0;background:#fff}td:first-child,th:first-child{text-align:left}"
    "h2{margin-top:3rem}nav ol{columns:2}"
)
