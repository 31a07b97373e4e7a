"""A report's sections as HTML and Markdown, with its tables and figures as files."""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any, TypeAlias

import jinja2
import pandas as pd
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from analysis.common import csv_text, files
from analysis.common.printable import printable
from analysis.rendering import figure_files
from analysis.rendering.figure_files import PNG, SVG
from analysis.rendering.formats import NOT_AVAILABLE, markdown_line, markdown_table
from analysis.runs import schema

# A table with a cell longer than this has sentences, not values with intervals, so its cells wrap.
_LONGEST_NUMBER = 60
_OPTION = re.compile(r"(?<!\S)--[a-z][a-z0-9-]*")  # a separate word, not a part of a name such as `<!--x`
_PLACE = (schema.DATASET, schema.MODEL)


@dataclass(frozen=True)
class Picture:
    """A figure, and the name of its files without ending."""

    name: str
    figure: Figure


@dataclass(frozen=True)
class Caption:
    """A line of text that begins with a label in bold letters, such as `Table 1.`."""

    label: str
    text: str


@dataclass(frozen=True)
class Items:
    """A list of sentences."""

    sentences: Sequence[str]


Block: TypeAlias = str | Caption | Items | pd.DataFrame | Picture


@dataclass(frozen=True)
class Section:
    """A heading and the blocks below it. Text is shown literally, even if it has Markdown or HTML in it.

    Parameters
    ----------
    title : str
    blocks : sequence of str, Caption, Items, DataFrame or Picture
        In the order of the page; a str is a paragraph. A section without blocks is not shown, but its tables are
        written.
    tables : dict of file name -> DataFrame
        Tables that are written as CSV files beside the page.
    notes : sequence of str
        Sentences on what the section left out; the page shows those of all sections at its end.
    """

    title: str
    blocks: Sequence[Block]
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Report:
    """The content of a report.

    Parameters
    ----------
    title : str
    verdict : list of str
        A line of a few sentences for each data set and model.
    to_know : list of str
        Fixed sentences, in Markdown, that a reader needs to know before any number.
    sections : list of Section
    """

    title: str
    verdict: list[str]
    to_know: list[str]
    sections: list[Section]

    @property
    def shown(self) -> list[Section]:
        """The sections that have something to show."""
        return [section for section in self.sections if section.blocks]

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """The tables of all sections by file name."""
        return {name: table for section in self.sections for name, table in section.tables.items()}

    @property
    def figures(self) -> dict[str, Figure]:
        """The figures of all sections by file name without ending."""
        return {picture.name: picture.figure for picture in self._pictures}

    @property
    def _pictures(self) -> list[Picture]:
        blocks = (block for section in self.sections for block in section.blocks)
        return [block for block in blocks if isinstance(block, Picture)]


def pictures(figures: Mapping[str, Figure | None]) -> list[Picture]:
    """Return the figures that are not None as blocks of a section, given by file name without ending."""
    return [Picture(name, figure) for name, figure in figures.items() if figure is not None]


def numbered(start: str, drawn: Sequence[Figure | None]) -> list[Picture]:
    """Return the figures of a kind as pictures named `start`, `start_2`, ...; a missing figure's number is skipped."""
    return pictures({picture_name(start, place): figure for place, figure in enumerate(drawn)})


def picture_name(start: str, place: int) -> str:
    """Return the name of the figure at a position, counted from 0: `start`, `start_2`, ..."""
    return f"{start}_{place + 1}" if place else start


def write(report: Report, output: Path) -> list[Path]:
    """Write report.html, report.md, the tables as CSV and the figures as SVG and PNG.

    Files are moved to `output` one by one after all are written, so an error while writing leaves the old files.

    Parameters
    ----------
    report : Report
    output : Path
        Folder, which is made if it does not exist; other files in it are kept.

    Returns
    -------
    list of Path
        The files written, relative to `output`.

    Raises
    ------
    StudyError
        If the folder cannot be made or written to.
    """
    with files.aside(output) as folder:
        (folder / "figures").mkdir()
        for name, table in report.tables.items():
            csv_text.write(table, folder / name, missing=NOT_AVAILABLE)
        (folder / "report.md").write_text(markdown(report), encoding="utf-8")
        figure_files.write(report.figures, folder / "figures", [PNG, SVG])
        drawings = {name: (folder / "figures" / f"{name}{SVG}").read_bytes() for name in report.figures}
        (folder / "report.html").write_text(html_page(report, drawings), encoding="utf-8")
        return files.written(folder)


def markdown(report: Report) -> str:
    """Return the page as Markdown, whose pictures are the PNG files that `write` writes."""
    verdict = (f"**{markdown_line(line)}**" for line in report.verdict)
    parts = [f"# {markdown_line(report.title)}", *verdict, *report.to_know]
    for section in report.shown:
        parts += [f"## {markdown_line(section.title)}", *map(_markdown_block, section.blocks)]
    return "\n\n".join(parts) + "\n"


def _markdown_block(block: Block) -> str:
    match block:
        case Picture(name):
            return f"![{name}](figures/{name}.png)"
        case pd.DataFrame():
            return markdown_table(_with_heading_rows(block))
        case Caption(label, text):
            return f"**{markdown_line(label)}** {markdown_line(text)}"
        case Items(sentences):
            return "\n".join(f"- {markdown_line(sentence)}" for sentence in sentences)
        case _:
            return markdown_line(block)


def _under_headings(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Return a table in parts, each with the data set and model of its rows as heading.

    Data set and model become headings only if they are the first columns and repeat; else the heading is empty.
    """
    place = list(takewhile(lambda name: name in _PLACE, table.columns))
    if not place or not table.duplicated(place).any():
        return [("", table)]
    parts = table.groupby(place, sort=False, dropna=False)
    return [(", ".join(map(str, names)), rows.drop(columns=place)) for names, rows in parts]


def _with_heading_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table in which every heading is a separate row, with empty cells after the first."""
    parts = []
    for heading, rows in _under_headings(table):
        row = pd.DataFrame([[heading, *[""] * (rows.shape[1] - 1)]], columns=rows.columns)
        parts += [row, rows] if heading else [rows]
    return pd.concat(parts) if len(parts) > 1 else parts[0]


def html_page(report: Report, drawings: Mapping[str, bytes]) -> str:
    """Return the page as one file, which contains its pictures and loads nothing over the network."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        finalize=_printable,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["whole_options"] = _whole_options
    sections = [
        {"title": section.title, "blocks": [_html_block(block, drawings) for block in section.blocks]}
        for section in report.shown
    ]
    to_know = [sentence.replace("`", "") for sentence in report.to_know]
    template = environment.get_template("page.html")
    return template.render(title=report.title, verdict=report.verdict, to_know=to_know, sections=sections)


def _html_block(block: Block, drawings: Mapping[str, bytes]) -> dict[str, Any]:
    """Return the values that the template needs to show a block."""
    match block:
        case Picture(name, figure):
            return {"picture": base64.b64encode(drawings[name]).decode(), "title": _title(figure)}
        case pd.DataFrame():
            longest = block.map(lambda value: len(str(value))).to_numpy().max(initial=0)
            parts = _under_headings(block)
            rows = [(heading, part.astype(object).to_numpy().tolist()) for heading, part in parts]
            return {"columns": list(parts[0][1].columns), "rows": rows, "is_prose": longest > _LONGEST_NUMBER}
        case Caption(label, text):
            return {"label": label, "text": text}
        case Items(sentences):
            return {"sentences": sentences}
        case _:
            return {"text": block}


def _printable(value: Any) -> Any:
    is_markup = hasattr(value, "__html__")
    return printable(value) if isinstance(value, str) and not is_markup else value


def _whole_options(text: str) -> Markup:
    """Return HTML text in which options such as `--decay` are not broken across lines."""
    return Markup(_OPTION.sub(r'<span class="option">\g<0></span>', str(escape(printable(text)))))


def _title(figure: Figure) -> str:
    of_panels = (axes.get_title(place) for axes in figure.axes for place in ("center", "left"))
    titles = [figure.get_suptitle(), *of_panels, "figure"]
    return next(stripped for title in titles if (stripped := title.strip())).replace("\n", " ")
