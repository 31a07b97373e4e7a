"""Characteristics of each class before training: the artifact `class_characteristics.csv`, and its export."""

import pandas as pd

from analysis.runs import schema
from analysis.runs.run_tables import RunTable

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
