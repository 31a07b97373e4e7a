"""Compare the networks before and after compression as two populations.

The results are the images whose modal prediction changed and the classes whose recall changed differently from the
accuracy (Hooker et al., "What Do Compressed Deep Neural Networks Forget?").
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.statistics import groups, halves, populations
from analysis.statistics.hypothesis_tests import LEVEL
from analysis.statistics.modal_labels import FEWEST
from analysis.statistics.moderation import enough_classes
from analysis.statistics.populations import FEWEST_TESTED
from analysis.statistics.recalls import Recalls

TABLES = ("pie.csv", "pie_groups.csv", "class_significance.csv")


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
    significance : DataFrame, one row per class
        class, recall_before, recall_after, and the results of `populations.class_significance`: difference,
        normalised_difference, statistic, dof, p, p_holm, p_bh, p_paired, p_paired_holm, p_moderated, p_moderated_holm,
        significant, significant_paired, significant_moderated, shift. Empty with one network before or after.
    notes : list of str
    """

    exemplars: pd.DataFrame
    over_represented: pd.DataFrame
    significance: pd.DataFrame
    notes: list[str]

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """The tables that have rows, by file name."""
        tables = (self.exemplars, self.over_represented, self.significance)
        return {name: table for name, table in zip(TABLES, tables, strict=True) if len(table)}


NOTHING = Populations(pd.DataFrame(), pd.DataFrame(), pd.DataFrame(), [])


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
    classes = np.unique(np.concatenate([label, before.ravel(), after.ravel()]))
    label, before, after = (np.searchsorted(classes, each) for each in (label, before, after))
    tested_labels = np.unique(label)
    paired = paired and len(before) == len(after)
    if min(len(before), len(after)) < FEWEST_TESTED:
        return NOTHING
    names = dict(zip(tested_labels.tolist(), class_names.tolist(), strict=True))
    significance = _significance(label, before, after, tested_labels, names, paired)
    notes = [_significance_note(significance, paired)]
    if min(len(before), len(after)) < FEWEST:
        return NOTHING._replace(significance=significance, notes=notes)
    exemplars = populations.exemplars(before, after)
    class_labels = np.array([str(names.get(index, classes[index])) for index in range(len(classes))])
    over_represented = [
        groups.over_represented(group, exemplars.identified).assign(grouping=name)
        for name, group in {"class": class_labels[label], **groupings}.items()
    ]
    table = pd.concat(over_represented, ignore_index=True)
    return Populations(
        exemplars=_exemplars(exemplars, label, class_labels),
        over_represented=table[["grouping", *table.columns.drop("grouping")]],
        significance=significance,
        notes=[*_exemplar_notes(exemplars, before, after, paired), *notes],
    )


def _exemplars(exemplars: populations.Exemplars, label: np.ndarray, class_labels: np.ndarray) -> pd.DataFrame:
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


def _exemplar_notes(exemplars: populations.Exemplars, before: np.ndarray, after: np.ndarray, paired: bool) -> list[str]:
    sentence = (
        "PIEs: the most frequent predictions before and after compression differ for "
        f"{exemplars.identified.sum():,} "
        f"of {len(exemplars.identified):,} images ({exemplars.untied:,} of them without a tie)"
    )
    fewest = min(len(before), len(after))
    if fewest < halves.FEWEST:
        warning = (
            f"Too few networks to count the PIEs due to chance: a side (before or after) has {fewest}. The count needs "
            f"two halves of {FEWEST} networks, so give {halves.FEWEST} or more a side."
        )
        return [sentence + ".", warning]
    if paired:
        half, placebo = (halves.exemplars_of_halves(before, side) for side in (after, before))
        sentence += (
            f". Half of the networks before, compared with half of those after, give {half.pies:,.0f} PIEs "
            f"({half.untied:,.0f} without a tie); two halves of the networks before, which differ only by chance, give "
            f"{placebo.pies:,.0f} ({placebo.untied:,.0f})"
        )
    return [sentence + "."]


def _significance(
    label: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    tested_labels: np.ndarray,
    names: Mapping[int, str],
    paired: bool,
) -> pd.DataFrame:
    class_index = np.searchsorted(tested_labels, label)
    recalls = [Recalls.from_answers(class_index, side == label) for side in (before, after)]
    test = populations.class_significance(*recalls, paired=paired)
    columns = {"class": [names[label_index] for label_index in tested_labels.tolist()]}
    means = {"recall_before": recalls[0].recall.mean(0), "recall_after": recalls[1].recall.mean(0)}
    return pd.DataFrame({**columns, **means, **{name: getattr(test, name) for name in _TESTED}})


_TESTED = (
    *("difference", "normalised_difference", "statistic", "dof", "p", "p_holm", "p_bh", "p_paired", "p_paired_holm"),
    *("p_moderated", "p_moderated_holm", "significant", "significant_paired", "significant_moderated", "shift"),
)


def _most(table: pd.DataFrame) -> str:
    """Name, in brackets, the significant class whose change differs most from the change of accuracy; "" if none is."""
    shift = table["shift"][table["p_moderated"] <= LEVEL]
    if shift.empty:
        return ""
    place = shift.abs().idxmax()
    most, side = " most" if len(shift) > 1 else "", "above" if shift[place] > 0 else "below"
    return f" ({table['class'][place]}{most}, {100 * abs(shift[place]):.1f} points {side} the change of accuracy)"


def _significance_note(table: pd.DataFrame, paired: bool) -> str:
    """Say how many classes changed according to the published Welch test and the moderated test, which decides."""
    if table["p_moderated"].isna().all():
        alike = "all networks changed equally, so no test is possible"
        nothing = "no class changed differently from the accuracy"
        return f"Class significance (Hooker et al.): {alike if table['shift'].any() else nothing}."
    welch_count, changed, changed_holm = (
        np.count_nonzero(table[name] <= LEVEL) for name in ("p_holm", "p_moderated", "p_moderated_holm")
    )
    reason = (
        "Because each pruned network was made from one of those before, trust the paired" if paired else "Trust the"
    )
    recall = table[["recall_before", "recall_after"]].mean(axis=1).to_numpy()
    variances = "moderated variances" if enough_classes(recall) else "the variance of each class alone"
    return (
        "Hooker et al.'s class test of the networks before and after (Welch's t-test, 5 %) finds that "
        f"{table['significant'].sum():,} of {len(table):,} classes changed differently from the accuracy, and "
        f"{welch_count:,} after Holm's correction. {reason} t-test with {variances} instead: it finds "
        f"{changed}{_most(table)}, and {changed_holm} after Holm's correction."
    )
