"""The pictures of a study that its pages show, as PNG files of at most 256 colours.

`report_figures` in study.yaml lists pictures of the study's report. `figures` maps names to an own function, as
`module.name`, that takes the study and returns a picture, or to the settings of `numbers_figure`.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from of_analysis import (
    ABOVE,
    BELOW,
    DIFFERENT,
    NEUTRAL,
    Panel,
    draw,
    figure_files,
    handle,
    intervals,
    name_rows,
    report_of,
    side_by_side,
)
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from published import VALUES, Part, Study, call

_COLORS = {"orange": ABOVE, "blue": BELOW, "black": DIFFERENT, "grey": NEUTRAL}


def write(study: Study) -> None:
    """Write the pictures of a study into its folder `figures`."""
    made = {name: study_figure(study, how) for name, how in study.spec.get("figures", {}).items()}
    if "report_figures" in study.spec:
        made |= {name: report_of(study.folder)[1][name] for name in study.spec["report_figures"]}
    if made:
        folder = study.folder / "figures"
        folder.mkdir(exist_ok=True)
        figure_files.write(made, folder, [figure_files.PNG])
        for name in made:
            _limit_colors(folder / f"{name}.png")


def study_figure(study: Study, how: Part | str) -> Figure:
    """Make a picture of `figures`."""
    return call(how, study) if isinstance(how, str) else numbers_figure(study, how)


def numbers_figure(study: Study, how: Part) -> Figure:
    """Draw numbers with their intervals.

    `where` is a query of pandas that chooses rows of numbers.csv, and `panels` maps titles of panels to further ones,
    or to settings of the panel, `where` among them. In a panel, rows are named by the column `rows`; they are side by
    side with `upright`, else below each other. `colors` maps the values of the column `by` to colours, and `labels` to
    words.
    """
    table = pd.read_csv(study.folder / "numbers.csv", keep_default_na=False, na_values={name: [""] for name in VALUES})
    table = table.query(how["where"]).rename(columns={"estimate": "value"})
    names = how.get("names") or [*dict.fromkeys(table[how["rows"]])]
    labels = {value: how.get("labels", {}).get(value, value) for value in how["colors"]}
    colors = {labels[value]: _COLORS[color] for value, color in how["colors"].items()}
    table = table[table[how["rows"]].isin(names)]
    table = table.assign(place=table[how["rows"]].map(names.index), series=table[how["by"]].map(labels))
    panels = []
    for title, further in how["panels"].items():
        own = {**how, **(further if isinstance(further, Mapping) else {"where": further})}
        drawn = partial(_draw, names=[str(name) for name in names], colors=colors, how=own)
        panels.append(Panel(drawn, table.query(own["where"]), title, *own.get("axes", ())))
    legend = [handle(label, color=color, marker="o") for label, color in colors.items()] if len(colors) > 1 else None
    words: Any = {name: how[name] for name in ("title", "note", "sharex", "sharey") if name in how}
    return draw(panels, how.get("columns"), size=tuple(how["size"]), legend=legend, **words)


def _draw(axes: Axes, rows: pd.DataFrame, names: list[str], colors: dict[str, str], how: Part) -> None:
    rows = side_by_side(rows, "series", colors, apart=0.6 / (len(colors) + 1)).drop(columns="label")
    intervals(axes, rows, upright=how.get("upright", False), no_effect=how.get("no_effect", 0))
    if how.get("upright"):
        axes.set_xticks(range(len(names)), names)
    else:
        name_rows(axes, names, size=8)


def _limit_colors(path: Path) -> None:
    """Reduce a picture to at most 256 colours, which makes its file a third as large."""
    with Image.open(path) as picture:
        maker = PngInfo()
        maker.add_text("Software", str(picture.info["Software"]))
        few = picture.convert("RGB").quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        few.save(path, "PNG", optimize=True, pnginfo=maker, dpi=picture.info["dpi"])
