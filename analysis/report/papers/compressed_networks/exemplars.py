"""Pruning identified exemplars (PIEs) of every cell: their number, images and difficulty, beside a placebo.

The control `none` is a cell too, which shows the effect of fine-tuning alone. Networks at chance are included.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from analysis.report.papers.compressed_networks.naming import LEVEL, METHOD, cell_names
from analysis.runs import schema
from analysis.runs.frames import RUN_ID, ReadPredictions
from analysis.statistics import votes
from analysis.statistics.groups import ImageGroups, members, over_index
from analysis.statistics.votes import FEWEST, Exemplars, Halves, HalvesExemplars, jackknife_estimate
from analysis.study.arrays import RunArrays
from analysis.study.groups import GROUP, GROUPING
from analysis.study.predictions import Pairs, StudyPredictions

# Top-5 accuracies are undefined for this number of classes or fewer.
_RANKED = 5
# Sets of images over which accuracies are computed, in the order of the columns.
PARTS = ("pie", "non_pie", "all")


class CellExemplars(NamedTuple):
    """The exemplars of a study's cells.

    Attributes
    ----------
    summary, images, groups : DataFrame
        As `exemplars` describes them.
    halves : list of (dict, tuple of str, HalvesExemplars, HalvesExemplars)
        For each cell whose dense networks can be halved: its naming columns, its dense runs, PIEs of halves, and PIEs
        of the placebo.
    notes : list of str
        Sentences on cells that are left out.
    """

    summary: pd.DataFrame
    images: pd.DataFrame
    groups: pd.DataFrame
    halves: list[tuple[dict[str, Any], tuple[str, ...], HalvesExemplars, HalvesExemplars]]
    notes: list[str]


def exemplars(
    study: RunArrays,
    predictions: ReadPredictions | StudyPredictions | None,
    of_images: Mapping[str, ImageGroups] | None = None,
) -> CellExemplars:
    """Return the pruning identified exemplars of every cell of at least five networks.

    They are written to `pie_summary.csv`, `pie.csv` and `pie_groups.csv`.

    Parameters
    ----------
    study : RunArrays
    predictions : callable or StudyPredictions, optional
        As for `cells.cells`; without predictions, the frames are empty.
    of_images : mapping of str to ImageGroups, optional
        The groups of each data set's test images.

    Returns
    -------
    summary : DataFrame, one row per cell
        The columns of `naming.cell_names`, and:

        - n_dense, n_compressed: numbers of networks.
        - n_pie: PIEs of all dense networks, compared with all networks made from them.
        - n_pie_untied: PIEs for which neither modal label (most frequent prediction) is tied.
        - n_ties: images, among all, for which a modal label is tied.
        - top1_pie, top1_non_pie, top1_all: mean share of dense networks that classify PIEs, other images and all images
          correctly.
        - top5_pie, top5_non_pie, top5_all: mean share of dense networks that have the label among their five most
          probable classes. NaN for five classes or fewer, or if the predictions lack these classes.
        - top1_matched, top5_matched: the same shares on other images, weighted to match the PIEs in dense_share (see
          `images`).
        - columns that begin with `compressed_`: the same shares of the compressed networks.
        - n_pie_halves: PIEs of a dense half, compared with the compressed networks of the other half.
        - n_pie_placebo: PIEs between two dense halves.
        - n_pie_halves_untied, n_pie_placebo_untied: the PIEs without a tie among n_pie_halves and n_pie_placebo.
        - n_pie_placebo_low, n_pie_placebo_high: bounds that include 90 % of the placebo's splits.
        - n_pie_minus_placebo: n_pie_halves minus n_pie_placebo, with its 95 % interval.
        - n_pie_none, n_pie_none_untied: PIEs of the control's networks, compared with the compressed networks, and
          the untied among these PIEs.
        - disagreement: mean share of images on which a dense and a compressed network predict different classes.
        - disagreement_dense: mean share of images on which two dense networks predict different classes.
        - gap_halves, gap_placebo: accuracy of the dense half on other images minus its accuracy on PIEs, for the PIEs
          of n_pie_halves and of n_pie_placebo.
        - gap_minus_placebo: gap_halves minus gap_placebo, with its 95 % interval.
        - gap_halves_matched, gap_placebo_matched: the gaps if the other images are weighted as for top1_matched.

        The 95 % intervals (`_low`, `_high`) are by the jackknife over groups of networks. All columns on halves are NaN
        if halves have fewer than five networks, or if the dense networks are copies of one network.
    images : DataFrame, one row per cell and PIE
        The columns of `naming.cell_names`, index (position among the test images, from 0), label, dense_mode,
        compressed_mode, dense_share, compressed_share (share of the votes for the mode).
    groups : DataFrame, one row per cell of at least ten networks, grouping and group
        The columns of `naming.cell_names`, grouping, group, and those of `over_indexing`.
    """
    shared_predictions = StudyPredictions.shared(predictions)
    if shared_predictions is None:
        return CellExemplars(pd.DataFrame(), pd.DataFrame(), pd.DataFrame(), [], [])
    dense_halves: dict[tuple[str, ...], Halves | None] = {}
    summaries, images, of_groups, of_halves, without = [], [], [], [], []
    for rows in study.cells:
        own = study.runs.iloc[rows]
        dense = tuple(own[schema.DENSE_RUN_ID])
        if len(set(dense)) < FEWEST:
            continue
        name = cell_names(study, rows[0])
        pairs = shared_predictions.of_runs(own)
        if pairs is None:
            without.append((name, shared_predictions.lack(own)))
            continue
        own_exemplars = _between(shared_predictions, dense, own[RUN_ID])
        if dense not in dense_halves:
            dense_halves[dense] = _halves(pairs, dense)
        on_images = _on_images(pairs, own_exemplars, ranked=study.classes_of(rows).sum() > _RANKED)
        between_halves = dict.fromkeys(OF_HALVES, np.nan)
        if (own_halves := dense_halves[dense]) is not None:
            compressed = pairs.predicted[1]
            halves_split, placebo = own_halves.against(compressed), own_halves.placebo
            between_halves = _of_halves(halves_split, placebo)
            of_halves.append((name, dense, halves_split, placebo))
            if (table := (of_images or {}).get(name[schema.DATASET])) and table.images == len(pairs.images.label):
                of_groups += [{**name, **row} for row in _by_group(own_halves, compressed, table)]
        summaries.append({**name, **on_images, **between_halves, **_against_control(study, rows, shared_predictions)})
        images.append(pd.DataFrame({**name, **_columns(pairs, own_exemplars)}))
    pies = pd.concat(images, ignore_index=True) if images else pd.DataFrame()
    notes = list(_notes(without, none_found=shared_predictions.none_found))
    return CellExemplars(pd.DataFrame(summaries), pies, pd.DataFrame(of_groups), of_halves, notes)


def _notes(without: list[tuple[dict[str, Any], bool]], *, none_found: bool) -> Iterator[str]:
    """Yield notes on the cells whose PIEs cannot be counted.

    `without` has these cells, each with a bool: whether its predictions are missing. If only some predictions are
    missing, `cells.cells` adds a note.
    """
    if without and none_found:
        yield f"no PIEs are counted, because no run has usable predictions ({schema.PREDICTIONS})"
    if of_other_images := [cell for cell, is_missing in without if not is_missing]:
        cells = [f"{cell[schema.DATASET]}, {cell[METHOD]} at {cell[LEVEL]:g}" for cell in of_other_images]
        more = f" and {len(cells) - 3:,} more" if len(cells) > 3 else ""
        count = "one cell" if len(cells) == 1 else f"{len(cells):,} cells"
        yield (
            f"no PIEs are counted for {count}, because the predictions are of different test images: "
            f"{'; '.join(cells[:3])}{more}"
        )


def _on_images(pairs: Pairs, own_exemplars: Exemplars, *, ranked: bool) -> dict[str, Any]:
    """Return the columns of a cell that are counts and means over its images."""
    dense, (_, compressed) = pairs.dense, pairs.predicted
    right = [(side == pairs.images.label).mean(0) for side in (dense, compressed)]
    missing = np.full(len(pairs.images.label), np.nan)
    in_top5 = (pairs.in_top5 if ranked else None) or (missing, missing)
    top1, top5 = (_accuracies(name, shares[0], own_exemplars) for name, shares in (("top1", right), ("top5", in_top5)))
    matched_accuracies = {
        f"{name}_matched": each.pop(f"{name}_matched") for name, each in (("top1", top1), ("top5", top5))
    }
    return {
        "n_dense": len(dense),
        "n_compressed": len(compressed),
        "n_pie": int(own_exemplars.identified.sum()),
        "n_pie_untied": own_exemplars.untied,
        "n_ties": own_exemplars.ties,
        **top1,
        **top5,
        **matched_accuracies,
        **_accuracies("compressed_top1", right[1], own_exemplars),
        **_accuracies("compressed_top5", in_top5[1], own_exemplars),
        "disagreement": float(votes.disagreement(dense, compressed).mean()),
        "disagreement_dense": float(votes.disagreement_within(dense).mean()),
    }


def _accuracies(name: str, right: np.ndarray, own_exemplars: Exemplars) -> dict[str, float]:
    """Return means of `right`, (images,), over PIEs, others, all, and others weighted like PIEs in dense vote share."""
    pies = own_exemplars.identified
    return {
        f"{name}_pie": right[pies].mean() if pies.any() else np.nan,
        f"{name}_non_pie": right[~pies].mean() if not pies.all() else np.nan,
        f"{name}_all": right.mean(),
        f"{name}_matched": votes.matched_share(right, own_exemplars.dense.share, pies),
    }


def _halves(pairs: Pairs, dense: Sequence[str]) -> Halves | None:
    """Return halves of the dense networks; None if halves have fewer than five, or could share a network."""
    enough = len(dense) >= votes.FEWEST_HALVED and len(set(dense)) == len(dense)
    enough = enough and not votes.are_copies(pairs.dense)
    return Halves(pairs.predicted[0], pairs.images.label) if enough else None


def _of_halves(halves_split: HalvesExemplars, placebo: HalvesExemplars) -> dict[str, float]:
    """Return the columns on PIEs of halves and on those of the placebo."""
    low, high = placebo.most_splits
    values = (
        *(halves_split.n_pie[0], halves_split.untied, placebo.n_pie[0], placebo.untied, low, high),
        *jackknife_estimate(halves_split.n_pie - placebo.n_pie),
        *(halves_split.gap[0], placebo.gap[0]),
        *jackknife_estimate(halves_split.gap - placebo.gap),
        *(halves_split.matched - halves_split.pie[0], placebo.matched - placebo.pie[0]),
    )
    return dict(zip(OF_HALVES, values, strict=True))


OF_HALVES = (
    *("n_pie_halves", "n_pie_halves_untied"),
    *("n_pie_placebo", "n_pie_placebo_untied", "n_pie_placebo_low", "n_pie_placebo_high"),
    *("n_pie_minus_placebo", "n_pie_minus_placebo_low", "n_pie_minus_placebo_high"),
    *("gap_halves", "gap_placebo", "gap_minus_placebo", "gap_minus_placebo_low", "gap_minus_placebo_high"),
    *("gap_halves_matched", "gap_placebo_matched"),
)


def _by_group(own_halves: Halves, compressed: np.ndarray, table: ImageGroups) -> Iterator[dict[str, Any]]:
    """Yield a row for each group of images with its over-indexing among PIEs of halves."""
    shares, placebo = own_halves.image_shares(compressed), own_halves.placebo_shares
    for grouping, group in table.groupings.items():
        names, images, group_index = members(group)
        indices = over_indexing(shares[:, images], placebo[:, images], group_index)
        for name, row in zip(names, indices.to_dict("records"), strict=True):
            yield {GROUPING: grouping, GROUP: name, **row}


def over_indexing(pies: np.ndarray, placebo: np.ndarray, group_index: np.ndarray) -> pd.DataFrame:
    """Tabulate the index of each group for PIEs between halves, and for the placebo.

    Parameters
    ----------
    pies, placebo : (1 + groups of networks, images)
        `Halves.image_shares` against the compressed networks, and against the dense ones.
    group_index : (images,), integers
        The group of each image, from 0; every group has an image.

    Returns
    -------
    DataFrame, one row per group
        - images: number of the group's images.
        - pies, pies_placebo: number of PIEs in the group, a mean over splits.
        - index, index_placebo, index_minus_placebo: the indices and their difference, with 95 % intervals (`_low`,
          `_high`) by the jackknife over groups of networks. NaN without PIEs.
    """
    shares = {"": pies, "_placebo": placebo}
    indices = {ending: over_index(each, group_index) for ending, each in shares.items()}
    indices["_minus_placebo"] = indices[""] - indices["_placebo"]
    return pd.DataFrame(
        {
            "images": np.bincount(group_index),
            **{f"pies{ending}": np.bincount(group_index, each[0]) for ending, each in shares.items()},
            **{
                f"index{ending}{end}": values
                for ending, each in indices.items()
                for end, values in zip(
                    ("", "_low", "_high"), np.transpose(list(map(jackknife_estimate, each.T))), strict=True
                )
            },
        }
    )


def _against_control(study: RunArrays, rows: np.ndarray, predictions: StudyPredictions) -> dict[str, float]:
    """Count PIEs between controls and compressed networks, and the untied ones; NaN for fewer than five controls."""
    rows = study.with_control(rows)
    run_ids = study.runs[RUN_ID].iloc
    sides = run_ids[study.controls[rows]], run_ids[rows]
    counts = np.nan, np.nan
    if len(set(sides[0])) >= FEWEST and predictions.of_pairs(*sides):
        own_exemplars = _between(predictions, *sides)
        counts = float(own_exemplars.identified.sum()), float(own_exemplars.untied)
    return dict(zip(("n_pie_none", "n_pie_none_untied"), counts, strict=True))


def _between(predictions: StudyPredictions, before: Iterable[str], after: Iterable[str]) -> Exemplars:
    """Compare the networks `before`, each counted once, with the networks `after`, and return the exemplars."""
    return votes.exemplars_between(predictions.modes(dict.fromkeys(before)), predictions.modes(after))


def _columns(pairs: Pairs, own_exemplars: Exemplars) -> dict[str, np.ndarray]:
    """Return the columns of the table of a cell's PIEs."""
    pies = np.flatnonzero(own_exemplars.identified)
    return {
        "index": pies,
        "label": pairs.images.label[pies],
        "dense_mode": own_exemplars.dense.label[pies],
        "compressed_mode": own_exemplars.compressed.label[pies],
        "dense_share": own_exemplars.dense.share[pies],
        "compressed_share": own_exemplars.compressed.share[pies],
    }
