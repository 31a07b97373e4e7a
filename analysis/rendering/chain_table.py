"""The table of a search's chains as text: what each chain costs and loses."""

import pandas as pd

from analysis.common.points import points

_COSTS = {"size": "bytes", "latency": "time, share", "macs": "products"}


def cost(value: float, minimize: str) -> str:
    """Return a chain's cost as text; `minimize` is as for `table`."""
    return f"{value:.3f}" if minimize == "latency" else f"{value:,.0f}"


def table(trials: pd.DataFrame, minimize: str) -> pd.DataFrame:
    """Return a row for each chain, with every cell as text.

    Parameters
    ----------
    trials : DataFrame
        Trials of a search, as in `ChainTrials`.
    minimize : {"size", "latency", "macs"}
        Quantity that the costs measure.
    """
    return pd.DataFrame(
        {
            "chain": trials["chain"],
            _COSTS[minimize]: [cost(value, minimize) for value in trials["cost"]],
            "loss of accuracy": trials["accuracy_loss"].map(points),
            "accuracy, at most": trials["accuracy_loss_upper"].map(points),
            "worst class": trials["worst_class"],
            "its loss": trials["class_loss"].map(points),
            "class, at most": trials["class_loss_upper"].map(points),
        }
    )
