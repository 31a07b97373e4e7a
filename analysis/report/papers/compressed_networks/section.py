"""The report's sections on the exemplars and class tests of Hooker et al., each a function of a study."""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import pandas as pd

from analysis.rendering.formats import NOT_AVAILABLE, decimals, rounded, short_ratio, with_interval
from analysis.rendering.page import Block, Caption, Section, numbered
from analysis.report.papers.claims import UNTRIED, shown
from analysis.report.papers.compressed_networks import claims, exemplars, figures, populations, published_values
from analysis.report.papers.compressed_networks.exemplars import CellExemplars
from analysis.report.papers.compressed_networks.naming import LEVEL, METHOD, file_table
from analysis.report.verdict import places
from analysis.runs import schema
from analysis.statistics import votes
from analysis.study.decision import ratio_of
from analysis.study.groups import GROUP, GROUPING
from analysis.study.joins import join
from analysis.study.labels import level_label
from analysis.study.settings import CONTROL, at_level, controls_at_level, in_number_format, is_pruned
from analysis.study.study import StudyData

_PIES = (
    "A PIE (pruning identified exemplar, Hooker et al.) is a test image for which compressed and dense networks differ "
    "in their most frequent prediction. A PIE is untied if neither prediction is tied. PIEs of the same networks are "
    "those between all dense networks and all networks made from them; PIEs of halves, between half of the dense "
    "networks and networks made from the other half; PIEs of the placebo, between two halves of the dense networks. "
    "Halves consist of different networks, so their PIEs are mostly an effect of the seeds. Dense networks are less "
    "accurate on PIEs than on other images. The last column is this difference minus the same difference for the "
    "placebo's PIEs, in points. pie_summary.csv and pie.csv have the numbers."
)
_TESTS = (
    "A class is significant if its recall changed differently from the accuracy, by a paired t-test at the 5 % level; "
    "the next column has the number left after Holm's correction. The t-test of Hooker et al. treats dense and "
    "compressed networks as independent, so it can hardly detect a small change; its placebo compares two halves of "
    "the dense networks. class_significance.csv and significant_classes.csv have the numbers."
)
_INDEX = (
    "The index of a group is its share of the PIEs of halves divided by its share of all images (Hooker et al., "
    "Section 3.2). Above 1, the group over-indexes. The placebo's index uses the PIEs between two halves of the dense "
    "networks. The column of a method has its index minus the placebo's index: the effect of compression. Intervals "
    "are over groups of networks. pie_groups.csv has all groups."
)
_MOST_GROUPS = 12  # maximum number of groups in a table
_CHANGES = (
    "The same loss in points is a larger share of a low recall, so the picture divides the change of the recall by the "
    "recall before. This normalisation is ours: it is close to equation 3 of Hooker et al. minus 1, whereas their "
    "Figure 2 normalises by the change of the accuracy. The picture shows the method of the verdict."
)
_POPULATIONS = (
    "The picture shows the accuracies of the networks at each level, like Table 1 of Hooker et al.; populations.csv "
    "has the numbers."
)
_PRINTED = (
    "Hooker et al. train 30 networks for each level, and their models may differ from those here. They prune gradually "
    "during training; other schedules are compared at the same sparsity. Accuracies are in %."
)
_CLAIMS = (
    "Read this table like the one on the sentences of the recall distortion paper. Standard errors are from the "
    "jackknife over groups of networks, because PIEs and significant classes need several networks; on average these "
    "errors are somewhat too large. t is the level."
)
_TESTED = ("difference", "normalised_difference", "statistic", "dof", "p", "p_holm", "p_bh", "significant")
_SUMMARY = (
    *("n_dense", "n_compressed", "n_pie", "n_pie_untied", "n_ties"),
    *(f"top{k}_{on}" for k in (1, 5) for on in exemplars.PARTS),
)


@lru_cache(2)
def significance(study: StudyData) -> pd.DataFrame:
    """Return the class tests of a study (`populations.class_significance`), computed once."""
    return populations.class_significance(study.arrays)


@lru_cache(2)
def tested(study: StudyData) -> pd.DataFrame:
    """Return the significant classes of a study (`populations.significant_classes`), computed once."""
    return populations.significant_classes(significance(study))


@lru_cache(2)
def found_exemplars(study: StudyData) -> CellExemplars:
    """Return the exemplars of a study (`exemplars.exemplars`), computed once."""
    return exemplars.exemplars(study.arrays, study.predicted, study.image_groups)


def section(study: StudyData) -> Section | None:
    """Return the section on images that compressed networks forget; None for a study of single networks.

    Only reports with `--paper true` have the paper's class tests and accuracies.
    """
    exemplars = found_exemplars(study)
    files = {
        "pie_summary.csv": file_table(exemplars.summary, _SUMMARY, study.shown),
        "pie.csv": file_table(exemplars.images, [], study.shown),
        "pie_groups.csv": file_table(exemplars.groups, [], study.shown),
    }
    if study.options.paper:
        of_classes = ["class", "recall_dense", "recall_compressed", *_TESTED]
        files |= {
            "populations.csv": file_table(populations.accuracies(study.arrays), ["n"], study.shown),
            "class_significance.csv": file_table(significance(study), of_classes, study.shown),
            "significant_classes.csv": file_table(tested(study), [], study.shown),
        }
    tables = {name: table for name, table in files.items() if len(table)}
    notes = [*exemplars.notes, *_notes(exemplars.summary)]
    if not tables and not notes:
        return None
    blocks = _blocks(study, exemplars) if len(exemplars.summary) else []
    return Section("Images that are forgotten", blocks, tables=tables, notes=notes)


def accuracies(study: StudyData) -> Section | None:
    """Return the section on the distributions of the accuracy; None for a study of single networks."""
    table = populations.accuracies(study.arrays)
    if table.empty:
        return None
    drawn = figures.accuracies(study, table)
    return Section("Accuracy of each network", [_POPULATIONS, *numbered("populations", drawn)])


def normalised_recall(study: StudyData) -> Section | None:
    """Return the section on the normalised change of each class's recall; None for a study of single networks."""
    tests = significance(study)
    compressed = study.cells[study.cells[schema.PRUNER] != CONTROL]
    if not len(tests) or not len(compressed):
        return None
    of_places = [_pruned_or_all(cells) for _, cells in places(compressed)]
    drawn = [figures.normalised_recall(study, cells, tests) for cells in of_places]
    return Section("Recall of each class, by ratio", [_CHANGES, *numbered("normalised_recall", drawn)])


def beside_print(study: StudyData) -> Section | None:
    """Return the section that compares the study with published values; None if none has a counterpart."""
    tests, exemplars = significance(study), found_exemplars(study)
    compared = published_values.compare(populations.accuracies(study.arrays), tests, exemplars.summary)
    if compared.empty:
        return None
    tables = {"forgotten_in_print.csv": compared}
    return Section("Forgotten images, in print", [_PRINTED, rounded(compared)], tables, published_values.SLIPS)


def paper_claims(study: StudyData) -> Section | None:
    """Return the section that tests the paper's claims on the study; None if none can be tested."""
    judgements = claims.claims(study.arrays, found_exemplars(study))
    if (judgements["verdict"] == UNTRIED).all():
        return None
    tables = {"forgotten_claims.csv": judgements}
    return Section("The sentences of Hooker et al., tested on this study", [_CLAIMS, shown(judgements)], tables)


def _pruned_or_all(cells: pd.DataFrame) -> pd.DataFrame:
    """Return the pruned cells of a data set and model, or all its cells if no network is pruned."""
    pruned = cells[is_pruned(cells)]
    return pruned if len(pruned) else cells


def _blocks(study: StudyData, exemplars: CellExemplars) -> list[Block]:
    summary = exemplars.summary
    blocks: list[Block] = []
    for (dataset, model), _ in places(study.cells[study.cells[schema.PRUNER] != CONTROL]):
        ratio = ratio_of(study, (dataset, model))
        here = summary[summary[schema.DATASET].eq(dataset) & summary[schema.MODEL].eq(model)]
        beside = here[_beside(here, ratio)]
        if len(beside):
            blocks += [Caption(f"{dataset}, {model}.", f"Ratio {short_ratio(ratio)}."), _table(study, beside)]
            blocks += _group_tables(study, exemplars.groups, beside)
    tests = tested(study) if study.options.paper else None
    drawn = figures.counts(study, summary, tests)
    texts = [_PIES] if tests is None else [_PIES, _TESTS]
    return [*texts, *numbered("forgotten", drawn), *blocks] if blocks else []


def _beside(summary: pd.DataFrame, ratio: float) -> pd.Series:
    """Select a table's cells: those at a ratio, each method's nearest sparsity, number formats, and the controls."""
    is_shown = at_level(summary, ratio) | controls_at_level(summary, ratio) | in_number_format(summary)
    anew = summary[summary[LEVEL] < 1]  # pruned to a sparsity, not a ratio
    distance = (anew[schema.RATIO] / ratio - 1).abs()
    return is_shown | summary.index.isin(distance.groupby(anew[METHOD]).idxmin())


def _table(study: StudyData, summary: pd.DataFrame) -> pd.DataFrame:
    rows = summary.sort_values("n_pie", kind="stable")
    cells = rows.to_dict("records")
    columns = {
        "method": [study.method(cell) for cell in cells],
        "level": [level_label(cell, cell[LEVEL]) for cell in cells],
        "networks": rows["n_compressed"].map(str),
        "PIEs of the same networks (untied)": _with_untied(rows, "n_pie"),
        "PIEs of halves (untied)": _with_untied(rows, "n_pie_halves"),
        "placebo (untied)": _with_untied(rows, "n_pie_placebo"),
        **(_class_columns(study, rows) if study.options.paper else {}),
        "harder than the placebo's": [_harder_than_placebo(cell) for cell in cells],
    }
    plain = all(cell[LEVEL] == cell[schema.RATIO] for cell in cells)
    return pd.DataFrame({name: list(values) for name, values in columns.items() if name != "level" or not plain})


def _class_columns(study: StudyData, cells: pd.DataFrame) -> dict[str, pd.Series]:
    """Return the columns on significant classes of a table of the given cells."""
    rows = join(cells[study.cell_key], tested(study), study.cell_key, how="left")
    return {
        "significant classes": rows["significant_paired"].map(decimals(0)),
        "by Holm": rows["significant_paired_holm"].map(decimals(0)),
        "largest significant change, points": (100 * rows["largest_shift_paired"]).map(decimals(1)),
        "significant as in print": rows["significant"].map(decimals(0)),
        "significant by placebo": rows["placebo"].map(decimals(1)),
    }


def _group_tables(study: StudyData, groups: pd.DataFrame, beside: pd.DataFrame) -> Iterator[Block]:
    """Yield a table of the given cells for each grouping with few groups, with a row for each group."""
    if groups.empty:
        return
    rows = join(groups, beside[[*study.cell_key, LEVEL]], [*study.cell_key, LEVEL])
    few = [(name, own) for name, own in rows.groupby(GROUPING, sort=False) if own[GROUP].nunique() <= _MOST_GROUPS]
    if few:
        yield _INDEX
    for name, own in few:
        own = own.assign(method=[study.method(row) for row in own.to_dict("records")], shown=_beyond_placebo(own))
        of_group = own.groupby(GROUP, sort=False).first()
        yield pd.DataFrame(
            {
                f"{GROUP} ({name})": of_group.index,
                "images": list(of_group["images"].map("{:,}".format)),
                "index of the placebo": list(of_group["index_placebo"].map(decimals(2))),
                **{
                    method: list(rows.set_index(GROUP)["shown"].reindex(of_group.index, fill_value=NOT_AVAILABLE))
                    for method, rows in own.groupby("method", sort=False)
                },
            }
        )


def _beyond_placebo(rows: pd.DataFrame) -> list[str]:
    ends = (rows[f"index_minus_placebo{end}"] for end in ("", "_low", "_high"))
    return [with_interval(value, low, high, decimals(2, sign=True)) for value, low, high in zip(*ends, strict=True)]


def _with_untied(rows: pd.DataFrame, name: str) -> list[str]:
    counts = rows[[name, f"{name}_untied"]].to_numpy(float)
    return [f"{count:,.0f} ({untied:,.0f})" if np.isfinite(count) else NOT_AVAILABLE for count, untied in counts]


def _harder_than_placebo(cell: dict[str, float]) -> str:
    more, low, high = (100 * cell[f"gap_minus_placebo{end}"] for end in ("", "_low", "_high"))
    return with_interval(more, low, high, decimals(1, sign=True))


def _notes(summary: pd.DataFrame) -> list[str]:
    if summary.empty:
        return []
    lack_halves, are_copies = summary["n_pie_halves"].isna(), summary["disagreement_dense"].eq(0)
    few, of_copies = (int((lack_halves & each).sum()) for each in (~are_copies, are_copies))
    notes = []
    if few:
        notes.append(
            f"there are too few networks for PIEs of halves in {few:,} of {len(summary):,} cells: each half needs "
            f"{votes.FEWEST} different networks. PIEs of all networks in these cells are noisy, and many are "
            "tied"
        )
    if of_copies:
        notes.append(
            f"there is no placebo in {of_copies:,} of {len(summary):,} cells, because the dense networks are copies of "
            "one network. Sentences about chance are not tested there"
        )
    return notes
