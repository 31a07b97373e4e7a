"""Figures of the regression: its coefficients beside those in print, and its diagnostics (Figures 14 and 15)."""

import re
from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from scipy import stats

from analysis.rendering.drawing import ABOVE, BELOW, NEUTRAL
from analysis.rendering.layout import Panel, draw
from analysis.rendering.panels import intervals, name_rows
from analysis.rendering.picture_text import fitted_name
from analysis.statistics.regression import OUTCOME, Estimate, clustered_half_width

_BINS = 40
_TICKS = (-10.0, -1.0, -0.1, -0.05, 0.0, 0.05, 0.1, 1.0, 10.0)
_LINE = 0.25  # inches
_NAMES = 3.0, 8.0, 1  # width of the terms' names in inches, size in points, and lines
_LEVEL = re.compile(r"\w+\[T\.(.*)\]")
_COEFFICIENTS = (
    "Bars: 95 % intervals; those of this study are from standard errors by network. A colon means a product. "
    "The axis is linear between -0.1 and 0.1, and logarithmic beyond."
)
_DIAGNOSTICS = (
    "As Figures 14 and 15 in print. "
    "A fit whose assumptions hold has residuals that are normal (the grey curve) and that have no trend with the "
    "prediction. The accuracy is at most 1, so the cloud ends at a slanting edge. Darker squares have more rows; in "
    "the panels against the accuracy, each column of squares adds up to 1."
)


def coefficients(table: pd.DataFrame, networks: int) -> Figure:
    """Draw a study's coefficients above those in print, with intervals, one row for each term that is in print.

    Parameters
    ----------
    table : DataFrame
        The `table` of `coefficients.Regression`.
    networks : int
        Number of networks by which the standard errors are clustered.
    """
    rows = table[table["published"].notna() & (table["term"] != "Intercept")].reset_index(drop=True)
    room, letters, lines = _NAMES
    names = [fitted_name(short(term), 72 * room, letters, lines=lines) for term in rows["term"]]
    half = clustered_half_width(rows["se_network"].fillna(0), networks)
    ours = rows.assign(value=rows["coefficient"], low=rows["coefficient"] - half, high=rows["coefficient"] + half)
    return draw(
        [Panel(partial(_draw_coefficients, names=names, letters=letters), ours)],
        size=(9.5 - _NAMES[0], 0.5 + _LINE * len(rows)),
        title="Regression of class accuracy: coefficients beside those in print",
        note=_COEFFICIENTS,
    )


def _draw_coefficients(axes: Axes, rows: pd.DataFrame, names: Sequence[str], letters: float) -> None:
    printed = {"value": rows["published"], "low": rows["published_low"], "high": rows["published_high"]}
    for own, shift, color, mark, label in (
        (rows, -0.15, BELOW, "o", "this study"),
        (rows.assign(**printed), 0.15, ABOVE, "D", "in print"),
    ):
        intervals(axes, own.assign(place=rows.index + shift, color=color, mark=mark, label=label))
    reach = max(rows["coefficient"].abs().add(rows["high"] - rows["value"]).max(), rows["published"].abs().max())
    axes.set_xscale("symlog", linthresh=0.1)
    axes.set_xticks([tick for tick in _TICKS if reach >= abs(tick)], minor=False)
    axes.set_xticks([], minor=True)
    axes.xaxis.set_major_formatter("{x:g}")
    name_rows(axes, names, size=letters)


def short(term: str) -> str:
    """Return a term with the levels of factors in place of their names: `rewind : l1-structured`."""
    return " : ".join(_LEVEL.sub(r"\1", part).replace("np.", "") for part in term.split(":"))


def diagnostics(fit: Estimate) -> Figure:
    """Draw the residuals, and the prediction against the accuracy.

    Parameters
    ----------
    fit : Estimate
        As `regression.estimate` returns it.
    """
    accuracy, predicted, residuals = fit.rows[OUTCOME].to_numpy(float), fit.predicted, fit.result.resid
    return draw(
        [
            Panel(_draw_histogram, residuals, "", "residual", "density"),
            Panel(_draw_cloud, (predicted, residuals), "", "predicted accuracy", "residual"),
            Panel(partial(_draw_by_column, slope=1), (accuracy, predicted), "", "accuracy", "predicted accuracy"),
            Panel(partial(_draw_by_column, slope=0), (accuracy, residuals), "", "accuracy", "residual"),
        ],
        2,
        size=(4.5, 3.0),
        title="Regression of class accuracy: diagnostics",
        note=_DIAGNOSTICS,
    )


def _draw_histogram(axes: Axes, residuals: np.ndarray) -> None:
    axes.hist(residuals, bins=_BINS, density=True, color=BELOW)
    positions = np.linspace(*axes.get_xlim(), 200)
    axes.plot(positions, stats.norm.pdf(positions, residuals.mean(), residuals.std()), color=NEUTRAL)


def _draw_cloud(axes: Axes, values: tuple[np.ndarray, np.ndarray]) -> None:
    axes.hist2d(*values, bins=_BINS, norm=LogNorm(vmin=0.3), cmap="Blues", cmin=1)
    axes.axhline(0, color=ABOVE, linewidth=1)


def _draw_by_column(axes: Axes, values: tuple[np.ndarray, np.ndarray], slope: int) -> None:
    """Draw the distribution of y in each bin of x, with shares that add up to 1, and the line of no error."""
    counts, x, y = np.histogram2d(*values, bins=_BINS)
    total = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, total, out=np.full_like(counts, np.nan), where=counts > 0)
    axes.pcolormesh(x, y, shares.T, cmap="Blues", vmin=0, rasterized=True)
    axes.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]))
    axes.axline((0, 0), slope=slope, color=ABOVE, linewidth=1)
