"""The tests of Tables 1-9 of the recall distortion paper, run on a study.

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

from analysis.rendering.formats import told_apart
from analysis.report.published import label, original, rank, standing_for_up
from analysis.runs import schema
from analysis.statistics.hypothesis_tests import Alternative, Variance, corrected, independent, paired
from analysis.study.settings import CELL, CONTROL, CellKey, further_settings, main_setting, networks

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
    "n_at_chance",
]


class Design(NamedTuple):
    """The design of a table: its test, and the number of tests that are corrected together in print."""

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

# The sizes by which the paper's tables name ResNets.
_RESNET_SIZES = {f"ResNet-{size}": str(size) for size in (20, 32, 44, 56, 110)}
# The printed names of models that differ only in their size.
_FAMILIES = (_RESNET_SIZES.keys(), {"lenet5-half", "LeNet", "lenet5-double"})


class PrunedModel(NamedTuple):
    """A data set, a model and a pruner, at all ratios."""

    dataset: str
    model: str
    pruner: str


class _Test(NamedTuple):
    table: int
    column: str
    fixed: str
    row: str
    first: CellKey
    second: CellKey
    further: bool = False
    rows: str = ""  # the header of the table's rows, if it differs from print


def paper_tests(alphas: pd.DataFrame, *, variance: Variance = "welch", as_printed: bool = False) -> pd.DataFrame:
    """Run every test of Tables 1-9 for which a study has the cells (`tests.csv`).

    Neighbouring ratios are compared, and neighbouring sizes of models that `differ_in_size`. The data set, model or
    pruner that a table fixes is the paper's (CIFAR-10, ResNet-56; MP in Tables 1, 3, 5, 7, 9) if the study has it, else
    the one with most runs. UP in Tables 2, 6 and 9 is `up` or, if the study lacks it, `up-signed`. If runs differ in
    further settings, only those of `main_setting` are tested. The control `none` has one ratio, and is compared with
    every ratio of the pruners.

    Parameters
    ----------
    alphas : DataFrame
        As `cells.alphas` returns it. Networks at chance are left out.
    variance : {"welch", "pooled"}
        Variance in the independent tests, Tables 5-7.
    as_printed : bool
        Whether to use only the paper's own fixed data set, model and pruner of each table, the paper's ratios, and in
        Tables 5 and 6 its ResNets.

    Returns
    -------
    DataFrame, one row per test, by table, column and row
        `TEST_COLUMNS`, where values that cannot be computed are NaN. Among them:

        - dataset: as logged;
        - column, row: the printed labels, column with the fixed values in brackets, such as `t=2 (ResNet-56)`;
        - difference: alpha of the row's first member minus alpha of its second;
        - p_bonferroni, p_holm: corrected over the rows of a column or, in Table 9, over all its rows, for at least as
          many tests as in print. The pairs of Table 8 that are not in print, such as those with `none`, are a
          separate family;
        - n: the number of pairs of networks or, in an independent test, of networks of both cells; n_at_chance: the
          number that is left out because a network is at chance.

        `attrs["notes"]` lists what was left out. `attrs["headers"]` has, for every row, the column and the fixed values
        separately; `attrs["row_headers"]` has the header of a table's rows if it differs from print.
    """
    runs = main_setting(alphas, further_settings(alphas))
    notes = list(runs.attrs.get("notes", []))
    is_control = runs[schema.PRUNER] == CONTROL
    for kind, own in (("pruned networks", runs[~is_control]), ("controls", runs[is_control])):
        if n_at_chance := int(own["at_chance"].sum()):
            notes.append(
                f"{n_at_chance:,} of {len(own):,} {kind} have no alpha and are left out of the paper's tests, "
                "because they or their dense networks are at chance"
            )
    frame = _tested(runs, _planned(runs, as_printed), variance, DESIGNS)
    frame.attrs |= {"notes": notes, "variance": variance}
    return frame


def unpaired_tests(alphas: pd.DataFrame, *, variance: Variance = "welch", as_printed: bool = False) -> pd.DataFrame:
    """Run the tests of Tables 8 and 9 as if the pruners shared no dense networks; otherwise like `paper_tests`.

    In the paper, not all pruners shared their dense networks.
    """
    runs = main_setting(alphas, further_settings(alphas))
    planned = [test for test in _planned(runs, as_printed) if test.table in (8, 9)]
    return _tested(runs, planned, variance, {table: DESIGNS[table]._replace(paired=False) for table in (8, 9)})


def usual_model(dataset: str) -> str:
    """Return the printed name of the model that Tables 3 and 7 use for a data set, given by its logged name."""
    return _MODEL_OF.get(original(dataset), _MODEL)


def usual(numbers_of_runs: pd.Series, printed: str) -> str | None:
    """Return the logged name whose printed name is `printed`, or else the logged name with most runs."""
    names = sorted(numbers_of_runs.index, key=rank)
    in_print = (name for name in names if label(name) == printed)
    return next(in_print, max(names, key=numbers_of_runs.get, default=None))


def resnet_size(model: str) -> str | None:
    """Return the size by which the paper names a ResNet; None for any other model."""
    return _RESNET_SIZES.get(label(model))


def differ_in_size(first: str, second: str) -> bool:
    """Return whether two models differ only in size: they are two of the paper's ResNets, or LeNet5s of two widths."""
    sizes = {label(first), label(second)}
    return len(sizes) == 2 and any(sizes <= family for family in _FAMILIES)


def labels(frame: pd.DataFrame, *, as_printed: bool = False) -> dict[str, str]:
    """Return the names of data sets, models and pruners in tables, by logged name.

    Parameters
    ----------
    frame : DataFrame
        Runs or alphas.
    as_printed : bool
        Whether `up-signed` is called UP if there is no `up`.

    Returns
    -------
    dict
        The printed name, or the logged name if another logged name has the same printed name, such as `cifar10` and
        `CIFAR-10`.
    """
    logged = pd.unique(frame[[schema.DATASET, schema.MODEL, schema.PRUNER]].to_numpy().ravel())
    counts = Counter(map(label, logged))
    names = {name: label(name) if counts[label(name)] == 1 else name for name in logged}
    if as_printed and (up := standing_for_up(set(frame[schema.PRUNER]))) in names:
        names[up] = "UP"
    return names


def _tested(
    alphas: pd.DataFrame, planned: Sequence[_Test], variance: Variance, designs: dict[int, Design]
) -> pd.DataFrame:
    samples = {CellKey(*cell): _Sample.of(rows) for cell, rows in alphas.groupby(CELL)}
    nothing = _Sample.of(alphas.iloc[:0])
    family = pd.Series([_family(test) for test in planned], dtype=object)
    sizes = family.map(family.value_counts())
    rows = []
    for test, number in zip(planned, sizes, strict=True):
        design = designs[test.table]
        size = number if test.further else max(number, design.family)
        first, second = (samples.get(cell, nothing) for cell in (test.first, test.second))
        if design.paired:
            shared = first.sound.index.intersection(second.sound.index)
            result = paired(
                first.sound.loc[shared], second.sound.loc[shared], alternative=design.alternative, family=size
            )
            left_out = len(first.all.intersection(second.all)) - len(shared)
        else:
            result = independent(
                first.sound, second.sound, alternative=design.alternative, family=size, variance=variance
            )
            left_out = sum(len(sample.all) - len(sample.sound) for sample in (first, second))
        named = {
            "table": test.table,
            "dataset": " vs ".join(dict.fromkeys([test.first.dataset, test.second.dataset])),
            "column": f"{test.column} ({test.fixed})",
            "row": test.row,
        }
        rows.append({**named, **result, "n_at_chance": left_out})
    frame = pd.DataFrame(rows, columns=TEST_COLUMNS).astype({"p_bonferroni": float, "p_holm": float})
    for (table, _, further), members in family.groupby(family, sort=False).groups.items():
        size = len(members) if further else designs[table].family
        frame.loc[members, ["p_bonferroni", "p_holm"]] = np.column_stack(corrected(frame.loc[members, "p"], size))
    frame.attrs["headers"] = [(test.column, test.fixed) for test in planned]
    frame.attrs["row_headers"] = {test.table: test.rows for test in planned if test.rows}
    return frame


class _Sample(NamedTuple):
    """Alpha of the networks of a cell that are not at chance, by network, and all networks of the cell."""

    sound: pd.Series
    all: pd.Index

    @classmethod
    def of(cls, rows: pd.DataFrame) -> "_Sample":
        alpha = rows["alpha"].set_axis(networks(rows))
        return cls(alpha[~rows["at_chance"].to_numpy(bool)], alpha.index)


def _family(test: _Test) -> tuple:
    """Return the key of a test's family: a column, all of Table 9, or a column's pairs that are not in print."""
    return test.table, "" if test.table == 9 else test.column, test.further


def _planned(alphas: pd.DataFrame, as_printed: bool) -> list[_Test]:
    if as_printed:
        alphas = alphas[alphas[schema.RATIO].isin(_RATIOS) | (alphas[schema.PRUNER] == CONTROL)]
    return sorted(_every_table(alphas, as_printed), key=lambda test: test.table)


def _every_table(alphas: pd.DataFrame, as_printed: bool) -> Iterator[_Test]:
    """Yield the tests of every table, by column and row."""
    names = labels(alphas, as_printed=as_printed)
    pruned = alphas[alphas[schema.PRUNER] != CONTROL]
    mp = _fixed(pruned, schema.PRUNER, "MP", as_printed)
    up = standing_for_up(set(pruned[schema.PRUNER]))
    for pruner, by_ratio, by_size in ((mp, 1, 5), (up, 2, 6)):
        models = _models(pruned[pruned[schema.PRUNER] == pruner], as_printed)
        yield from _neighbouring_ratios(
            by_ratio, [(names[each.model], names[each.pruner], each) for each in models], pruned
        )
        of_sizes = [each for each in models if resnet_size(each.model)] if as_printed else models
        yield from _neighbouring_sizes(by_size, of_sizes, pruned, names)

    by_dataset = _datasets(pruned[pruned[schema.PRUNER] == mp], as_printed)
    columns = [(names[each.dataset], f"{names[each.model]}, {names[each.pruner]}", each) for each in by_dataset]
    yield from _neighbouring_ratios(3, columns, pruned)

    by_pruner = _pruners(alphas, as_printed)
    columns = [(names[each.pruner], names[each.model], each) for each in by_pruner]
    yield from _neighbouring_ratios(4, columns, pruned)

    called = label if as_printed else original
    pairs = [
        (first, second)
        for printed in HARDER
        for first, second in product(by_dataset, repeat=2)
        if (called(first.dataset), called(second.dataset)) == printed
    ]
    yield from _pairs(7, pairs, alphas, lambda each: names[each.dataset], partial(_models_and_pruner, names))
    yield from _pruner_pairs(by_pruner, up, alphas, names)
    yield from _mp_against_up(alphas, mp, up, as_printed, names)


def _models(runs: pd.DataFrame, as_printed: bool) -> list[PrunedModel]:
    """Return all models of the data set that Tables 1, 2, 5, 6 and 9 fix."""
    dataset = _fixed(runs, schema.DATASET, DATASET, as_printed)
    return _pruned_models(runs[runs[schema.DATASET] == dataset])


def _datasets(runs: pd.DataFrame, as_printed: bool) -> list[PrunedModel]:
    """Return every data set with the model that Tables 3 and 7 fix for it."""
    models = []
    for dataset, rows in runs.groupby(schema.DATASET):
        model = _fixed(rows, schema.MODEL, usual_model(str(dataset)), as_printed)
        models += _pruned_models(rows[rows[schema.MODEL] == model])
    return sorted(models, key=_rank)


def _pruners(runs: pd.DataFrame, as_printed: bool) -> list[PrunedModel]:
    """Return all pruners of the data set and model that Tables 4 and 8 fix."""
    rows = runs[runs[schema.DATASET] == _fixed(runs, schema.DATASET, DATASET, as_printed)]
    return _pruned_models(rows[rows[schema.MODEL] == _fixed(rows, schema.MODEL, _MODEL, as_printed)])


def _fixed(runs: pd.DataFrame, column: str, printed: str, as_printed: bool) -> str | None:
    """Return the paper's fixed value or, unless `as_printed`, the value with most runs; None if there is no value."""
    value = usual(runs[column].value_counts(), printed)
    return value if value is None or not as_printed or label(value) == printed else None


def _pruned_models(runs: pd.DataFrame) -> list[PrunedModel]:
    rows = runs[[schema.DATASET, schema.MODEL, schema.PRUNER]].drop_duplicates()
    return sorted((PrunedModel(*row) for row in rows.itertuples(index=False)), key=_rank)


def _rank(pruned_model: PrunedModel) -> list[tuple]:
    return [rank(name) for name in pruned_model]


def _ratios(runs: pd.DataFrame, pruned_models: Iterable[PrunedModel]) -> list[list[float]]:
    """Return the ratios of each pruned model, ascending."""
    ratios = runs.groupby([schema.DATASET, schema.MODEL, schema.PRUNER])[schema.RATIO].unique()
    return [sorted(map(float, ratios.get(tuple(each), []))) for each in pruned_models]


def _neighbouring_ratios(
    table: int, columns: Sequence[tuple[str, str, PrunedModel]], runs: pd.DataFrame
) -> Iterator[_Test]:
    ratios = _ratios(runs, [pruned_model for *_, pruned_model in columns])
    pairs = sorted({pair for column in ratios for pair in pairwise(column)})
    for (column, fixed, pruned_model), own in zip(columns, ratios, strict=True):
        if len(own) > 1:
            for low, high in pairs:
                first, second = (CellKey(*pruned_model, ratio) for ratio in (low, high))
                yield _Test(table, column, fixed, f"{low:g} vs {high:g}", first, second)


def _neighbouring_sizes(
    table: int, models: Sequence[PrunedModel], runs: pd.DataFrame, names: Mapping[str, str]
) -> Iterator[_Test]:
    ratios = dict(zip(models, _ratios(runs, models), strict=True))
    every = sorted({ratio for own in ratios.values() for ratio in own})
    pairs = {
        (first, second)
        for ratio in every
        for first, second in pairwise(each for each in models if ratio in ratios[each])
        if differ_in_size(first.model, second.model)
    }
    ordered = sorted(pairs, key=lambda pair: [*map(_rank, pair)])
    sizes = {each.model: resnet_size(each.model) for pair in ordered for each in pair}
    called, rows = (sizes, "") if all(sizes.values()) else (names, "Models")
    for test in _pairs(table, ordered, runs, lambda each: str(called[each.model]), lambda a, b: names[a.pruner]):
        yield test._replace(rows=rows)


def _pairs(
    table: int,
    pairs: Sequence[tuple[PrunedModel, PrunedModel]],
    runs: pd.DataFrame,
    name: Callable[[PrunedModel], str],
    fixed: Callable[[PrunedModel, PrunedModel], str],
    further: Callable[[PrunedModel, PrunedModel], bool] = lambda first, second: False,
) -> Iterator[_Test]:
    """Yield tests with pairs as rows and ratios as columns."""
    both = sorted({each for pair in pairs for each in pair}, key=_rank)
    ratios = dict(zip(both, _ratios(runs, both), strict=True))
    every = sorted({ratio for each in both if each.pruner != CONTROL for ratio in ratios[each]})

    def cell(each: PrunedModel, ratio: float) -> CellKey:
        return CellKey(*each, ratios[each][0] if each.pruner == CONTROL else ratio)

    for ratio, text in told_apart(every).items():
        for first, second in pairs:
            yield _Test(
                table,
                column=f"t={text}",
                fixed=fixed(first, second),
                row=f"{name(first)} vs {name(second)}",
                first=cell(first, ratio),
                second=cell(second, ratio),
                further=further(first, second),
            )


def _models_and_pruner(names: Mapping[str, str], first: PrunedModel, second: PrunedModel) -> str:
    return f"{' vs '.join(dict.fromkeys([names[first.model], names[second.model]]))}, {names[first.pruner]}"


def _pruner_pairs(
    pruners: Sequence[PrunedModel], up: str, runs: pd.DataFrame, names: Mapping[str, str]
) -> Iterator[_Test]:
    """Yield Table 8 in the order of print, then the pairs that are not in print."""
    in_print = {each: "UP" if each.pruner == up else label(each.pruner) for each in pruners}
    printed = [each for each in pruners if in_print[each] in _PRUNERS]
    printed.sort(key=lambda each: _PRUNERS.index(in_print[each]))
    others = [each for each in pruners if each not in printed]
    ordered = printed + sorted(others, key=lambda each: each.pruner == CONTROL)

    def further(first: PrunedModel, second: PrunedModel) -> bool:
        return first not in printed or second not in printed

    pairs = [(first, second) for index, second in enumerate(ordered) for first in ordered[:index]]
    yield from _pairs(8, pairs, runs, lambda each: names[each.pruner], lambda a, b: names[a.model], further)


def _mp_against_up(
    alphas: pd.DataFrame, mp: str | None, up: str, as_printed: bool, names: Mapping[str, str]
) -> Iterator[_Test]:
    """Yield Table 9: models as columns, ratios as rows."""
    if mp is None or mp == up:
        return
    models = _models(alphas[alphas[schema.PRUNER].isin([mp, up])], as_printed)
    pairs = [(each, each._replace(pruner=up)) for each in models if each.pruner == mp]
    pairs = [pair for pair in pairs if pair[1] in models]
    ratios = told_apart(sorted({ratio for pair in pairs for own in _ratios(alphas, pair) for ratio in own}))
    for first, second in pairs:
        for ratio, text in ratios.items():
            fixed = f"{names[mp]} vs {names[up]}"
            cells = CellKey(*first, ratio), CellKey(*second, ratio)
            yield _Test(9, names[first.model], fixed, text, *cells)
