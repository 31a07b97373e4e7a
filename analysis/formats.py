"""How numbers are written in tables and sentences."""

import numpy as np
import pandas as pd

from analysis import formats

NOT_AVAILABLE = "n/a"


def three_decimals(value: float) -> str:
    """A number of three decimals, or `n/a`."""
    return f"{value:.3f}" if np.isfinite(value) else NOT_AVAILABLE


def p_value(p: float) -> str:
    """A p as in print: three decimals, `<0.001`, or `n/a`."""
    return "<0.001" if p < 0.001 else three_decimals(p)


def with_interval(value: float, low: float, high: float, digits: int) -> str:
    """A difference and its interval as text: +0.23 (-0.15 to +0.61)."""
    return f"{value:+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f})"


def values_with_intervals(frame: pd.DataFrame, name: str, interval: str) -> pd.Series:
    """Values with their intervals in brackets, as text; the value alone where it has none."""
    low, high = frame[f"{interval}_low"], frame[f"{interval}_high"]
    return pd.Series(
        [
            number(value) if np.isnan([value, a, b]).any() else f"{number(value)} ({number(a)} to {number(b)})"
            for value, a, b in zip(frame[name], low, high, strict=True)
        ],
        dtype=str,
    )


def rounded(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({name: [number(value) for value in frame[name]] for name in frame.columns})


def number(value: object) -> str:
    if isinstance(value, float | np.floating):
        if np.isnan(value):
            return formats.NOT_AVAILABLE
        if float(value).is_integer():
            return f"{value:g}"
        return f"{value:.4f}" if -0.0095 < float(value) < 0.0095 else f"{value:.3f}"
    return str(value)
