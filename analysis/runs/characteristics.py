"""Characteristics of each class before training: the artifact `class_characteristics.csv`, and its export."""

import pandas as pd

from analysis.runs import schema
from analysis.runs.run_tables import RunTable
from analysis.runs.sources import Source

MOST_BITS = 8  # largest entropy of a pixel, which has 256 values


def _check(table: pd.DataFrame) -> None:
    if not ((table["index"] >= 0) & (table["training_images"] >= 0)).all():
        raise ValueError("index or training_images is negative")
    if not table["imbalance"].between(-1, 1).all():
        raise ValueError("an imbalance is not between -1 and 1")
    if not (table["entropy"].between(0, MOST_BITS) | table["entropy"].isna()).all():
        raise ValueError(f"an entropy is not between 0 and {MOST_BITS} bits")


# class: name in the data set; index: its label; training_images: number of its training images; imbalance: their share
# of all training images, minus 1 / number of classes; entropy: mean Shannon entropy of their pixel values in bits,
# missing if the class has no training images.
TABLE = RunTable(
    artifact=schema.CLASS_CHARACTERISTICS,
    columns={"class": str, "index": int, "training_images": int, "imbalance": float, "entropy": float},
    key=["index"],
    contents="characteristics of classes",
    check=_check,
)


def pulled(runs: pd.DataFrame, *, tracking_uri: str | None = None) -> pd.DataFrame:
    """Return the class characteristics that the dense runs of the given runs have logged.

    Parameters
    ----------
    runs : DataFrame
        As `pull.pull_runs` returns it.
    tracking_uri : str, optional
        By default MLflow's current one.

    Returns
    -------
    DataFrame
        run_id (of the dense run), and the columns of `TABLE`. Runs without the artifact are left out; so are runs with
        a damaged artifact, with a warning for each.
    """
    from analysis.runs import pull  # imported here, because reading files needs no MLflow

    dense_run_ids = list(dict.fromkeys(runs[schema.DENSE_RUN_ID]))
    return TABLE.join(pull.artifacts_of(dense_run_ids, schema.CLASS_CHARACTERISTICS, tracking_uri=tracking_uri))


SOURCE = Source(lambda runs, _, uri: pulled(runs, tracking_uri=uri), TABLE.read, TABLE.export)
