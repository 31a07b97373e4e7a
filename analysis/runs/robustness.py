"""Counts of correctly classified images per class under corruptions: the artifact `corruptions.csv` and its export."""

import pandas as pd

from analysis.runs import schema
from analysis.runs.run_tables import RunTable

# Name of the corruption for unchanged images. A folder of images has its own name instead. Both have severity 0.
CLEAN = "none"
# Name of the mean over corruptions in tables. No folder of images may have either name.
ALL = "all"
KEY = ["corruption", "severity", "class"]
COUNTS = ["support", "right", "right_top5"]
_MOST_SEVERE = 5


def _check(table: pd.DataFrame) -> None:
    if not table["severity"].between(0, _MOST_SEVERE).all():
        raise ValueError(f"a severity is not between 0 and {_MOST_SEVERE}")
    support, right, right_top5 = (table[name] for name in COUNTS)
    if not ((support > 0) & (support < 2**53) & (right >= 0) & (right <= right_top5) & (right_top5 <= support)).all():
        raise ValueError(f"{', '.join(COUNTS)} contradict each other")


# severity: 0 for images that are not corrupted, else 1 to 5; class: its name in the data set; support: images of the
# class; right: images whose class is the most probable one; right_top5: images whose class is among the five most
# probable; measured: digest of the images, which is equal if counts are for the same images.
TABLE = RunTable(
    artifact=schema.CORRUPTIONS,
    columns={"corruption": str, "severity": int, "class": str, **dict.fromkeys(COUNTS, int), "measured": str},
    key=KEY,
    contents="counts of correctly classified images",
    check=_check,
)
COLUMNS = list(TABLE.columns)
