"""The report's sections on each class: its recall at each sparsity, and its training images (Paganini 2020)."""

from collections.abc import Iterator

import pandas as pd
from scipy import stats

from analysis.rendering.formats import decimals
from analysis.rendering.page import Block, Caption, Section, numbered
from analysis.report.papers.prune_responsibly import class_figures as figures
from analysis.report.papers.prune_responsibly.choice import found_points
from analysis.report.papers.prune_responsibly.levels import (
    ACCURACY_0,
    CLASS,
    FEWEST_IMAGES,
    IMAGES,
    MOST_IMAGES,
    trained_classes,
)
from analysis.report.verdict import places
from analysis.study.settings import is_pruned
from analysis.study.study import StudyData

_CURVES = (
    "The picture shows the mean recall of each class at each sparsity. The colour is the recall before pruning: if "
    "colours stay in order from top to bottom, weak classes stay weak."
)
_IMAGES = (
    "The picture shows the number of training images of each class. The colour is the recall before pruning: if short "
    "bars are dark, classes with few images are weak. class_images.csv has the numbers."
)


def class_curves(study: StudyData) -> Section | None:
    """Return the section on the recall of each class at each sparsity; None if `found_points` is empty."""
    if found_points(study).empty:
        return None
    runs = study.runs[is_pruned(study.runs)]
    drawn = [figures.class_curves(rows, study) for _, rows in places(runs)]
    return Section("Recall of each class, by sparsity", [_CURVES, *numbered("class_curves", drawn)])


def training_images(study: StudyData) -> Section | None:
    """Return the section on the training images of each class; None if they are unknown."""
    rows_of_classes = trained_classes(study.runs, study.characteristics)
    if rows_of_classes.empty:
        return None
    drawn = [figures.training_images(rows) for _, rows in places(rows_of_classes)]
    blocks: list[Block] = [_IMAGES, *_captions(rows_of_classes), *numbered("class_images", drawn)]
    table = rows_of_classes.rename(columns={ACCURACY_0: "recall_before"})
    return Section("Training images of each class", blocks, {"class_images.csv": table})


def _captions(rows_of_classes: pd.DataFrame) -> Iterator[Caption]:
    for workload, rows in places(rows_of_classes):
        yield Caption(", ".join(workload) + ".", " ".join(_sentences(rows)))


def _sentences(rows: pd.DataFrame) -> Iterator[str]:
    """Yield sentences on training images and recall of the classes of one data set and model."""
    images, recall = rows[IMAGES], rows[ACCURACY_0]
    differences = rows[MOST_IMAGES] - rows[FEWEST_IMAGES]
    if differences.any():
        name, fewest, most = rows.loc[differences.idxmax(), [CLASS, FEWEST_IMAGES, MOST_IMAGES]]
        yield (
            f"The networks differ in their training images: class {name} has between {fewest:,.0f} and {most:,.0f}. "
            "The classes are therefore not ranked."
        )
        return
    if images.nunique() < 2:
        yield "All classes have the same number of training images."
        return
    ranks = recall.rank(ascending=False, method="min")
    for words, count in (("most", images.max()), ("fewest", images.min())):
        row, *others = images.index[images == count]
        if others:
            yield f"{1 + len(others):,} classes have the {words} training images, {count:,.0f}."
            continue
        yield (
            f"Class {rows.at[row, CLASS]} has the {words} training images, {count:,.0f}; its recall is "
            f"number {ranks[row]:.0f} of {len(rows):,}, from the highest."
        )
    if recall.nunique() > 1:
        correlation = stats.spearmanr(images, recall).statistic
        yield f"The rank correlation of training images and recall is {decimals(2)(correlation)}."
