"""Find the images whose modal prediction changed between the networks before and after compression.

They are the exemplars of Hooker et al., "What Do Compressed Deep Neural Networks Forget?".
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.statistics import groups, votes
from analysis.statistics.votes import FEWEST

TABLES = ("pie.csv", "pie_groups.csv")


class Populations(NamedTuple):
    """Comparison of two populations of networks, before and after compression.

    Attributes
    ----------
    exemplars : DataFrame, one row per image whose modal label, its most frequent prediction, changed (PIE)
        index (position among the test images), label, before and after (modal labels), before_share and after_share
        (share of the networks that predict the modal label). Empty with fewer than five networks before or after.
    over_represented : DataFrame, one row per group of images
        grouping, group, images, pies, and ratio: the group's share of the PIEs divided by its share of the images, with
        the ends of its 95 % interval (ratio_low, ratio_high). The classes are the first grouping.
    notes : list of str
    """

    exemplars: pd.DataFrame
    over_represented: pd.DataFrame
    notes: list[str]

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """The tables that have rows, by file name."""
        tables = zip(TABLES, (self.exemplars, self.over_represented), strict=True)
        return {name: table for name, table in tables if len(table)}


NOTHING = Populations(pd.DataFrame(), pd.DataFrame(), [])


def compare(
    label: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    class_names: np.ndarray,
    groupings: Mapping[str, np.ndarray],
    *,
    paired: bool,
) -> Populations:
    """Compare two populations of networks, including networks at chance.

    Parameters
    ----------
    label : (images,)
    before, after : (networks, images)
        Predicted classes.
    class_names : (classes,)
        Names of the sorted labels.
    groupings : mapping of str to (images,) text
        Further groupings of the images; an empty string means no group.
    paired : bool
        Whether row i of `after` was made from row i of `before`.
    """
    if min(len(before), len(after)) < FEWEST:
        return NOTHING
    classes = np.unique(np.concatenate([label, before.ravel(), after.ravel()]))
    label, before, after = (np.searchsorted(classes, each) for each in (label, before, after))
    names = dict(zip(np.unique(label).tolist(), class_names.tolist(), strict=True))
    exemplars = votes.exemplars(before, after)
    class_labels = np.array([str(names.get(index, classes[index])) for index in range(len(classes))])
    over_represented = [
        groups.over_represented(group, exemplars.identified).assign(grouping=name)
        for name, group in {"class": class_labels[label], **groupings}.items()
    ]
    table = pd.concat(over_represented, ignore_index=True)
    return Populations(
        exemplars=_exemplars(exemplars, label, class_labels),
        over_represented=table[["grouping", *table.columns.drop("grouping")]],
        notes=_exemplar_notes(exemplars, before, after, paired and len(before) == len(after)),
    )


def _exemplars(exemplars: votes.Exemplars, label: np.ndarray, class_labels: np.ndarray) -> pd.DataFrame:
    pies = np.flatnonzero(exemplars.identified)
    return pd.DataFrame(
        {
            "index": pies,
            "label": class_labels[label[pies]],
            "before": class_labels[exemplars.dense.label[pies]],
            "after": class_labels[exemplars.compressed.label[pies]],
            "before_share": exemplars.dense.share[pies],
            "after_share": exemplars.compressed.share[pies],
        }
    )


def _exemplar_notes(exemplars: votes.Exemplars, before: np.ndarray, after: np.ndarray, paired: bool) -> list[str]:
    sentence = (
        "PIEs: the most frequent predictions before and after compression differ for "
        f"{exemplars.identified.sum():,} "
        f"of {len(exemplars.identified):,} images ({exemplars.untied:,} of them without a tie)"
    )
    fewest = min(len(before), len(after))
    if fewest < votes.FEWEST_HALVED:
        warning = (
            f"Too few networks to count the PIEs due to chance: a side (before or after) has {fewest}. The count needs "
            f"two halves of {FEWEST} networks, so give {votes.FEWEST_HALVED} or more a side."
        )
        return [sentence + ".", warning]
    if paired:
        half, placebo = (votes.exemplars_of_halves(before, side) for side in (after, before))
        sentence += (
            f". Half of the networks before, compared with half of those after, give {half.pies:,.0f} PIEs "
            f"({half.untied:,.0f} without a tie); two halves of the networks before, which differ only by chance, give "
            f"{placebo.pies:,.0f} ({placebo.untied:,.0f})"
        )
    return [sentence + "."]
