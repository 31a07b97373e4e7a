"""Which tests Tables 1-9 of the recall distortion paper make, made on a study of one's own.

Good et al. 2022, "Recall Distortion in Neural Network Pruning and the Undecayed Pruning Algorithm", Sections 6.2
and 7, Appendix A.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise, product
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.published import label, original, rank, standing_for_up
from analysis.runs import schema
from analysis.settings import ALPHA_COLUMNS, CELL, CONTROL, main_setting
from analysis.statistics.hypothesis_tests import Alternative, Variance, corrected, independent, paired

TEST_COLUMNS = [
    "table",
    "dataset",
    "column",
    "row",
    "difference",
    "difference_low",
    "difference_high",
    "statistic",
    "dof",
    "p",
    "p_bonferroni",
    "p_holm",
    "p_permutation",
    "effect_size",
    "detectable_difference",
    "p_equivalence",
    "n",
]


class Design(NamedTuple):
    """How a table is made: which test, and how many are corrected together in print."""

    title: str
    rows: str
    paired: bool
    alternative: Alternative
    family: int


DESIGNS = {
    1: Design("Is alpha smaller at the smaller ratio, by model", "Ratios", True, "less", 4),
    2: Design("Is alpha smaller at the smaller ratio, by model", "Ratios", True, "less", 4),
    3: Design("Is alpha smaller at the smaller ratio, by data set", "Ratios", True, "less", 4),
    4: Design("Is alpha smaller at the smaller ratio, by pruner", "Ratios", True, "less", 4),
    5: Design("Is alpha larger for the smaller model", "ResNet Sizes", False, "greater", 4),
    6: Design("Is alpha larger for the smaller model", "ResNet Sizes", False, "greater", 4),
    7: Design("Is alpha smaller for the easier data set", "Datasets", False, "less", 3),
    8: Design("Do pruners differ in alpha", "Methods", True, "two-sided", 6),
    9: Design("Do two pruners differ in alpha", "Rate", True, "two-sided", 25),
}

DATASET, _MODEL = "CIFAR-10", "ResNet-56"
_MODEL_OF = {"MNIST": "LeNet", "Fashion": "LeNet"}
HARDER = (("MNIST", "CIFAR-10"), ("Fashion", "CIFAR-10"), ("CIFAR-10", "CIFAR-100"))
_PRUNERS = ("MP", "GP", "UP", "RP")
_RATIOS = (2.0, 4.0, 10.0, 20.0, 50.0)

Group = tuple[str, str, str]  # data set, model, pruner
Cell = tuple[str, str, str, float]


class _Test(NamedTuple):
    table: int
    column: str
    fixed: str
    row: str
    first: Cell
    second: Cell
    further: bool = False


def paper_tests(alphas: pd.DataFrame, *, variance: Variance = "welch", as_printed: bool = False) -> pd.DataFrame:
    """Every test of Tables 1-9 that a study has the cells for (`tests.csv`).

    Ratios and model sizes compared are the neighbouring ones that are there. Where a table fixes a data set,
    model or pruner it is the paper's (CIFAR-10, ResNet-56; MP in Tables 1, 3, 5, 7; UP, else `up-signed`, in
    Tables 2, 6, 9), else the one with most runs. Of several settings of a cell the one with most runs is
    tested. The control `none` has one ratio, which is compared with every ratio of the others.

    Parameters
    ----------
    alphas : DataFrame
        As `cells.alphas` returns it. Networks at chance stay in.
    variance : {"welch", "pooled"}
        Of the independent tests, Tables 5-7.
    as_printed : bool
        Only tables whose fixed data set, model and pruner are the paper's own, and only the paper's ratios.

    Returns
    -------
    DataFrame, one row per test, by table, column and row
        `TEST_COLUMNS`. dataset is as logged; column and row are the labels of print, column with what else the
        table fixes in brackets: `t=2 (ResNet-56)`. The difference is of the first in the row minus the second.
        Corrected together are the rows of a column, at least as many as in print, and all of Table 9; the pairs
        of Table 8 that are not in print (`none`, `up-signed`, `up-sum`) are a family of their own. What cannot
        be tested is NaN. `attrs["notes"]` says what was left out and how many networks are at chance;
        `attrs["headers"]` has, for every row, the column and what the table fixes, not yet put together.
    """
    kept = main_setting(alphas, [name for name in alphas.columns if name not in ALPHA_COLUMNS])
    notes = list(kept.attrs.get("notes", []))
    if guessing := int(kept["at_chance"].sum()):
        notes.append(f"{guessing:,} of {len(kept):,} pruned networks tested are at chance, their alpha is any number")
    frame = _tested(kept, _planned(kept, as_printed), variance, DESIGNS)
    frame.attrs |= {"notes": notes, "variance": variance}
    return frame


def unpaired_tests(alphas: pd.DataFrame, *, variance: Variance = "welch", as_printed: bool = False) -> pd.DataFrame:
    """Tables 8 and 9 as if the pruners shared no dense networks, as in print not all did; else as `paper_tests`."""
    kept = main_setting(alphas, [name for name in alphas.columns if name not in ALPHA_COLUMNS])
    planned = [test for test in _planned(kept, as_printed) if test.table in (8, 9)]
    return _tested(kept, planned, variance, {table: DESIGNS[table]._replace(paired=False) for table in (8, 9)})


def usual_model(dataset: str) -> str:
    """Name in print of the model that Tables 3 and 7 have for a data set, given as logged."""
    return _MODEL_OF.get(original(dataset), _MODEL)


def usual(numbers_of_runs: pd.Series, printed: str) -> str | None:
    """Of logged names with their numbers of runs, the one of this name in print, else the one with most."""
    names = sorted(numbers_of_runs.index, key=rank)
    in_print = (name for name in names if label(name) == printed)
    return next(in_print, max(names, key=numbers_of_runs.get, default=None))


def labels(frame: pd.DataFrame) -> dict[str, str]:
    """What data sets, models and pruners are called in tables, by logged name.

    That is their name in print where nothing else in the frame has it too (as `cifar10` and `CIFAR-10` would),
    else the logged one.
    """
    logged = pd.unique(frame[[schema.DATASET, schema.MODEL, schema.PRUNER]].to_numpy().ravel())
    counts = Counter(map(label, logged))
    return {name: label(name) if counts[label(name)] == 1 else name for name in logged}


def _tested(
    alphas: pd.DataFrame, planned: Sequence[_Test], variance: Variance, designs: dict[int, Design]
) -> pd.DataFrame:
    samples = {cell: of_cell.set_index(schema.SEED)["alpha"] for cell, of_cell in alphas.groupby(CELL)}
    family = pd.Series([_family(test) for test in planned], dtype=object)
    sizes = family.map(family.value_counts())
    rows = []
    for test, there in zip(planned, sizes, strict=True):
        design = designs[test.table]
        size = there if test.further else max(there, design.family)
        first, second = (samples.get(cell, pd.Series(dtype=float)) for cell in (test.first, test.second))
        if design.paired:
            first, second = (sample.loc[first.index.intersection(second.index)] for sample in (first, second))
            result = paired(first, second, alternative=design.alternative, family=size)
        else:
            result = independent(first, second, alternative=design.alternative, family=size, variance=variance)
        dataset = " vs ".join(dict.fromkeys([test.first[0], test.second[0]]))
        column = f"{test.column} ({test.fixed})"
        rows.append({"table": test.table, "dataset": dataset, "column": column, "row": test.row} | result)
    frame = pd.DataFrame(rows, columns=TEST_COLUMNS).astype({"p_bonferroni": float, "p_holm": float})
    for which, rows_of in family.groupby(family, sort=False).groups.items():
        size = len(rows_of) if which[-1] else designs[which[0]].family
        frame.loc[rows_of, ["p_bonferroni", "p_holm"]] = np.column_stack(corrected(frame.loc[rows_of, "p"], size))
    frame.attrs["headers"] = [(test.column, test.fixed) for test in planned]
    return frame


def _family(test: _Test) -> tuple:
    """What is corrected together: a column, all of Table 9, the pairs of a column that are not in print."""
    return test.table, "" if test.table == 9 else test.column, test.further


def _planned(alphas: pd.DataFrame, as_printed: bool) -> list[_Test]:
    if as_printed:
        alphas = alphas[alphas[schema.RATIO].isin(_RATIOS) | (alphas[schema.PRUNER] == CONTROL)]
    return sorted(_every_table(alphas, as_printed), key=lambda test: test.table)


def _every_table(alphas: pd.DataFrame, as_printed: bool) -> Iterator[_Test]:
    """The tests of every table, by column and row."""
    names = labels(alphas)
    pruned = alphas[alphas[schema.PRUNER] != CONTROL]
    mp = _fixed(pruned, schema.PRUNER, "MP", as_printed)
    up = standing_for_up(set(pruned[schema.PRUNER]))
    for pruner, by_ratio, by_size in ((mp, 1, 5), (up, 2, 6)):
        groups = _models(pruned[pruned[schema.PRUNER] == pruner], as_printed)
        yield from _neighbouring_ratios(by_ratio, [(names[m], names[p], (d, m, p)) for d, m, p in groups], pruned)
        yield from _neighbouring_sizes(by_size, groups, pruned, names)

    by_dataset = _datasets(pruned[pruned[schema.PRUNER] == mp], as_printed)
    columns = [(names[d], f"{names[m]}, {names[p]}", (d, m, p)) for d, m, p in by_dataset]
    yield from _neighbouring_ratios(3, columns, pruned)

    by_pruner = _pruners(alphas, as_printed)
    columns = [(names[p], names[m], (d, m, p)) for d, m, p in by_pruner]
    yield from _neighbouring_ratios(4, columns, pruned)

    called = label if as_printed else original
    pairs = [
        (first, second)
        for printed in HARDER
        for first, second in product(by_dataset, repeat=2)
        if (called(first[0]), called(second[0])) == printed
    ]
    yield from _pairs(7, pairs, alphas, lambda group: names[group[0]], partial(_models_and_pruner, names))
    yield from _pruner_pairs(by_pruner, up, alphas, names)
    yield from _mp_against_up(alphas, mp, up, as_printed, names)


def _models(runs: pd.DataFrame, as_printed: bool) -> list[Group]:
    """All models of the data set that Tables 1, 2, 5, 6 and 9 fix."""
    dataset = _fixed(runs, schema.DATASET, DATASET, as_printed)
    return _groups(runs[runs[schema.DATASET] == dataset])


def _datasets(runs: pd.DataFrame, as_printed: bool) -> list[Group]:
    """Every data set with the model that Tables 3 and 7 fix for it."""
    groups = []
    for dataset, of_dataset in runs.groupby(schema.DATASET):
        model = _fixed(of_dataset, schema.MODEL, usual_model(str(dataset)), as_printed)
        groups += _groups(of_dataset[of_dataset[schema.MODEL] == model])
    return sorted(groups, key=_rank)


def _pruners(runs: pd.DataFrame, as_printed: bool) -> list[Group]:
    """All pruners of the data set and model that Tables 4 and 8 fix."""
    of_dataset = runs[runs[schema.DATASET] == _fixed(runs, schema.DATASET, DATASET, as_printed)]
    return _groups(of_dataset[of_dataset[schema.MODEL] == _fixed(of_dataset, schema.MODEL, _MODEL, as_printed)])


def _fixed(runs: pd.DataFrame, column: str, printed: str, as_printed: bool) -> str | None:
    """The value that the paper fixes where it is there, else, if that will do, the one with most runs."""
    found = usual(runs[column].value_counts(), printed)
    return found if found is None or not as_printed or label(found) == printed else None


def _groups(runs: pd.DataFrame) -> list[Group]:
    groups = runs[[schema.DATASET, schema.MODEL, schema.PRUNER]].drop_duplicates()
    return sorted(groups.itertuples(index=False, name=None), key=_rank)


def _rank(group: Group) -> list[tuple]:
    return [rank(name) for name in group]


def _ratios(runs: pd.DataFrame, groups: Iterable[Group]) -> list[list[float]]:
    """The ratios of each group, ascending."""
    found = runs.groupby([schema.DATASET, schema.MODEL, schema.PRUNER])[schema.RATIO].unique()
    return [sorted(map(float, found.get(group, []))) for group in groups]


def _neighbouring_ratios(table: int, columns: Sequence[tuple[str, str, Group]], runs: pd.DataFrame) -> Iterator[_Test]:
    ratios = _ratios(runs, [group for *_, group in columns])
    pairs = sorted({pair for of_column in ratios for pair in pairwise(of_column)})
    for (column, fixed, group), of_column in zip(columns, ratios, strict=True):
        if len(of_column) > 1:
            for low, high in pairs:
                yield _Test(table, column, fixed, f"{low:g} vs {high:g}", (*group, low), (*group, high))


def _neighbouring_sizes(
    table: int, groups: Sequence[Group], runs: pd.DataFrame, names: Mapping[str, str]
) -> Iterator[_Test]:
    ratios = dict(zip(groups, _ratios(runs, groups), strict=True))
    every = sorted({ratio for of_group in ratios.values() for ratio in of_group})
    pairs = {pair for ratio in every for pair in pairwise(group for group in groups if ratio in ratios[group])}
    resnets = all(names[group[1]].startswith("ResNet-") for group in groups)

    def size(group: Group) -> str:
        return names[group[1]].removeprefix("ResNet-") if resnets else names[group[1]]

    yield from _pairs(table, sorted(pairs, key=lambda pair: [*map(_rank, pair)]), runs, size, lambda a, b: names[a[2]])


def _pairs(
    table: int,
    pairs: Sequence[tuple[Group, Group]],
    runs: pd.DataFrame,
    name: Callable[[Group], str],
    fixed: Callable[[Group, Group], str],
    further: Callable[[Group, Group], bool] = lambda first, second: False,
) -> Iterator[_Test]:
    """Pairs of groups as rows, ratios as columns."""
    groups = sorted({group for pair in pairs for group in pair}, key=_rank)
    ratios = dict(zip(groups, _ratios(runs, groups), strict=True))
    every = sorted({ratio for group in groups if group[2] != CONTROL for ratio in ratios[group]})

    def cell(group: Group, ratio: float) -> Cell:
        return (*group, ratios[group][0] if group[2] == CONTROL else ratio)

    for ratio in every:
        for first, second in pairs:
            yield _Test(
                table,
                column=f"t={ratio:g}",
                fixed=fixed(first, second),
                row=f"{name(first)} vs {name(second)}",
                first=cell(first, ratio),
                second=cell(second, ratio),
                further=further(first, second),
            )


def _models_and_pruner(names: Mapping[str, str], first: Group, second: Group) -> str:
    return f"{' vs '.join(dict.fromkeys([names[first[1]], names[second[1]]]))}, {names[first[2]]}"


def _pruner_pairs(groups: Sequence[Group], up: str, runs: pd.DataFrame, names: Mapping[str, str]) -> Iterator[_Test]:
    """Table 8 in the order of print, then the pairs that are not in print."""
    printed = [group for group in groups if label(group[2]) in _PRUNERS or group[2] == up]
    printed.sort(key=lambda group: _PRUNERS.index("UP" if group[2] == up else label(group[2])))
    others = [group for group in groups if group not in printed]
    ordered = printed + sorted(others, key=lambda group: group[2] == CONTROL)

    def further(first: Group, second: Group) -> bool:
        return first not in printed or second not in printed

    pairs = [(first, second) for place, second in enumerate(ordered) for first in ordered[:place]]
    yield from _pairs(8, pairs, runs, lambda group: names[group[2]], lambda a, b: names[a[1]], further)


def _mp_against_up(
    alphas: pd.DataFrame, mp: str | None, up: str, as_printed: bool, names: Mapping[str, str]
) -> Iterator[_Test]:
    """Table 9: models as columns, ratios as rows."""
    if mp is None or mp == up:
        return
    both = alphas[alphas[schema.PRUNER].isin([mp, up])]
    groups = _models(both, as_printed)
    pairs = [(group, (*group[:2], up)) for group in groups if group[2] == mp and (*group[:2], up) in groups]
    ratios = sorted({t for pair in pairs for of_group in _ratios(alphas, pair) for t in of_group})
    for first, second in pairs:
        for ratio in ratios:
            fixed = f"{names[mp]} vs {names[up]}"
            yield _Test(9, names[first[1]], fixed, f"{ratio:g}", (*first, ratio), (*second, ratio))
