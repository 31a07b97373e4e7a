"""Tables of Good et al. (2022) with our values beside the printed ones."""

from pathlib import Path

import folders
import pandas as pd

from analysis.rendering.formats import NOT_AVAILABLE
from analysis.report import published
from analysis.report.papers.recall_distortion.tables import AT_CHANCE, recall_variance


def compared(results: Path) -> pd.DataFrame:
    """Return the table cells of the paper that we repeated, with the values by its text and by its released code.

    Not every cell has a value by the released code. A value by the text is missing only if the networks are at chance.
    """
    text, released = (
        folders.table(results, name, "comparison.csv", dtype=str) for name in (folders.TEXT, folders.RELEASED)
    )
    cell = ["table", "row", "column", "published"]
    by_cell = pd.concat([text, released])[cell].drop_duplicates()
    by_cell = by_cell.merge(text, on=cell, how="left").merge(released, on=cell, how="left", suffixes=("", "_released"))
    return by_cell.assign(ours=by_cell["ours"].fillna(AT_CHANCE))


def table(compared: pd.DataFrame, number: int) -> pd.DataFrame:
    """Return a table in the printed layout, with the cells `printed / by the text's recipe / by the released code`."""
    compared = compared[compared["table"].eq(str(number))]
    texts = compared["published"] + " / " + compared["ours"] + " / " + compared["ours_released"].fillna(NOT_AVAILABLE)
    wide = compared.assign(three_values=texts).pivot(index="row", columns="column", values="three_values")
    wide = wide.reindex(index=compared["row"].unique(), columns=compared["column"].unique())
    return wide.fillna("").rename_axis(index="printed / text / released", columns=None).reset_index()


def table_7(results: Path) -> pd.DataFrame:
    """Return those columns of Table 7 that we have, with the cells `printed / ours`; ours are of LeNet5."""
    ours = folders.table(results, folders.TEXT, "table_07.csv", dtype=str, na_values=[]).set_index("Datasets")
    ours = ours.rename(index=lambda row: row.replace("cifar10-jpeg", published.original("cifar10-jpeg")))
    printed = published.table(7).set_index("Datasets").reindex(ours.index)
    shared = [column for column in ours if column in printed]
    return (
        (printed[shared] + " / " + ours[shared])
        .rename_axis(index="printed / ours (CIFAR-10: cifar10-jpeg)")
        .reset_index()
    )


def table_11(text: pd.DataFrame, released: pd.DataFrame) -> pd.DataFrame:
    """Return Table 11 in the printed layout: first with variances of recalls, then with those of recall balances."""
    printed = published.table(11).set_index("Model")
    parts = []
    for what, balances in (("recall", False), ("balance", True)):
        ours, as_released = (recall_variance(runs, balances=balances).set_index("Model") for runs in (text, released))
        shared = {
            "index": printed.index.intersection(ours.index),
            "columns": printed.columns.intersection(ours.columns),
        }
        as_released = as_released.reindex(**shared, fill_value=NOT_AVAILABLE)
        texts = printed.reindex(**shared) + " / " + ours.reindex(**shared) + " / " + as_released
        parts.append(texts.rename(f"{{}}, {what}".format))
    return pd.concat(parts).rename_axis("printed / text / released").reset_index()
