"""Figures of the regression: its coefficients beside those in print, and its diagnostics (Figures 14 and 15)."""

import re

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from scipy import stats

from analysis.rendering.drawing import ABOVE, BELOW, NEUTRAL, page
from analysis.rendering.picture_text import fitted_name
from analysis.report.ratio_plot import handle
from analysis.statistics.regression import OUTCOME, Estimate, clustered_half_width

_BINS = 40
_TICKS = (-10.0, -1.0, -0.1, -0.05, 0.0, 0.05, 0.1, 1.0, 10.0)
_LINE = 0.25  # inches
_NAMES, _NARROW_NAMES = (3.0, 8.0, 1), (1.7, 6.5, 2)  # inches of the terms' names, points, and lines
_LEVEL = re.compile(r"\w+\[T\.(.*)\]")
_COEFFICIENTS = (
    "Bars: 95 % intervals; those of this study by standard errors by network. A colon stands for a product. "
    "The axis is linear between -0.1 and 0.1, and logarithmic beyond."
)
_DIAGNOSTICS = (
    "As Figures 14 and 15 in print. "
    "A fit whose assumptions hold has residuals that are normal (the grey curve) and that have no trend over the "
    "prediction. The accuracy is at most 1, so the cloud ends at a slanting edge. Darker is more rows; over the "
    "accuracy each column of squares adds up to 1."
)


def coefficients(table: pd.DataFrame, networks: int, *, narrow: bool = False) -> Figure:
    """Draw a study's coefficients above those in print, with intervals, one row for each term that is in print.

    Parameters
    ----------
    table : DataFrame
        As `coefficients.Regression` has it.
    networks : int
        Number of networks that the errors rest on.
    narrow : bool
        Draw them for a narrow window.
    """
    rows = table[table["published"].notna() & (table["term"] != "Intercept")].iloc[::-1].reset_index(drop=True)
    size = (9.5, 1.6 + _LINE * len(rows))
    title = "Regression of class accuracy: coefficients beside those in print"
    figure, grid = page((1, 1), size, title, _COEFFICIENTS, narrow=narrow)
    axes, heights = grid[0, 0], np.arange(len(rows))
    half = clustered_half_width(rows["se_network"].fillna(0), networks)
    values = rows["coefficient"]
    axes.hlines(heights + 0.15, values - half, values + half, color=BELOW, linewidth=1.6)
    axes.scatter(values, heights + 0.15, color=BELOW, s=22, zorder=3)
    axes.hlines(heights - 0.15, rows["published_low"], rows["published_high"], color=ABOVE, linewidth=1.6)
    axes.scatter(rows["published"], heights - 0.15, color=ABOVE, marker="D", s=16, zorder=3)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xscale("symlog", linthresh=0.1)
    axes.set_xticks([tick for tick in _TICKS if _reach(rows, half) >= abs(tick)], minor=False)
    axes.set_xticks([], minor=True)
    axes.xaxis.set_major_formatter("{x:g}")
    room, letters, lines = _NARROW_NAMES if narrow else _NAMES
    names = [fitted_name(short(term), 72 * room, letters, lines=lines) for term in rows["term"]]
    axes.set_yticks(heights, names, fontsize=letters, parse_math=False)
    axes.set_ylim(-0.7, len(rows) - 0.3)
    axes.grid(axis="x", alpha=0.3)
    marks = [
        handle("this study", color=BELOW, marker="o", linestyle=""),
        handle("in print", color=ABOVE, marker="D", linestyle=""),
    ]
    axes.legend(handles=marks, fontsize=8, loc="best")
    return figure


def short(term: str) -> str:
    """Return a term with the levels of factors in place of their names: `rewind : l1-structured`."""
    return " : ".join(_LEVEL.sub(r"\1", part).replace("np.", "") for part in term.split(":"))


def _reach(rows: pd.DataFrame, half: pd.Series) -> float:
    return float(max((rows["coefficient"].abs() + half).max(), rows["published"].abs().max()))


def diagnostics(fit: Estimate, *, narrow: bool = False) -> Figure:
    """Draw the residuals, and the prediction against the accuracy.

    Parameters
    ----------
    fit : Estimate
        As `regression.estimate` returns it.
    narrow : bool
        Draw the panels one below the other, for a narrow window.
    """
    accuracy, predicted, residuals = fit.rows[OUTCOME].to_numpy(float), fit.predicted, fit.residuals
    title = "Regression of class accuracy: diagnostics"
    figure, grid = page((2, 2), (9.5, 7.4), title, _DIAGNOSTICS, narrow=narrow)
    histogram, cloud, target, spread = grid.flat
    _draw_histogram(histogram, residuals)
    cloud.hist2d(predicted, residuals, bins=_BINS, norm=LogNorm(vmin=0.3), cmap="Blues", cmin=1)
    cloud.axhline(0, color=ABOVE, linewidth=1)
    _name(cloud, "predicted accuracy", "residual")
    _draw_by_column(target, accuracy, predicted)
    target.axline((0.5, 0.5), slope=1, color=ABOVE, linewidth=1)
    _name(target, "accuracy", "predicted accuracy")
    _draw_by_column(spread, accuracy, residuals)
    spread.axhline(0, color=ABOVE, linewidth=1)
    _name(spread, "accuracy", "residual")
    return figure


def _draw_histogram(axes: Axes, residuals: np.ndarray) -> None:
    axes.hist(residuals, bins=_BINS, density=True, color=BELOW)
    positions = np.linspace(*axes.get_xlim(), 200)
    axes.plot(positions, stats.norm.pdf(positions, residuals.mean(), residuals.std()), color=NEUTRAL)
    _name(axes, "residual", "density")


def _draw_by_column(axes: Axes, across: np.ndarray, up: np.ndarray) -> None:
    """Draw how values spread in each bin of others, every bin's shares adding up to 1."""
    counts, x, y = np.histogram2d(across, up, bins=_BINS)
    total = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, total, out=np.full_like(counts, np.nan), where=counts > 0)
    axes.pcolormesh(x, y, shares.T, cmap="Blues", vmin=0, rasterized=True)
    axes.set_xlim(x[0], x[-1])
    axes.set_ylim(y[0], y[-1])


def _name(axes: Axes, across: str, up: str) -> None:
    axes.set_xlabel(across, fontsize=9)
    axes.set_ylabel(up, fontsize=9)
    axes.tick_params(labelsize=8)
