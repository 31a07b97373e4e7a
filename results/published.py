"""A published study: its frames, and the numbers that `published:` in its study.yaml asks for.

A number is a row: a quantity, keys that say of which networks, estimate, low, high, p, p_holm and n. Recalls,
accuracies and their differences are in points.

`published:` may have these keys:

- reads: other studies that this one uses.
- pools: other studies whose runs count as runs of this one; the column `study` tells them apart.
- networks: a list of conditions (see `fits`). Runs that fit one of them are used; by default all are. A study without
  frames has here, as `module.name`, an own function that returns a row for each network: its seed, columns for the
  axes, and outcomes.
- axes: names for the networks. An axis maps the name of each arm to a condition, and a network belongs to the first arm
  that it fits. An axis can also be the name of a param, whose values name the arms.
- where: for some axes, the arms to which every list is confined that does not name the axis itself.
- named: for each data set, the class that an earlier study named. Its cost is the outcome `named_cost`.
- means, compare, at_equal_accuracy, costs, tables: lists of what makes numbers, described by the functions of these
  names.
- primary: the names of numbers whose p are corrected together by Holm's method, if the lists do not say it by `holm`.
- figures, report_figures: pictures (see pictures.py).
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import outcomes
import pandas as pd
import yaml
from of_analysis import (
    CONTROL_OF_NETWORK,
    LEVEL,
    Curve,
    Frames,
    RunArrays,
    StudyError,
    StudyPredictions,
    WorstCost,
    at_same_accuracy,
    cell_costs,
    corrected,
    independent,
    mean_interval,
    paired,
    param,
    read,
    report_of,
    run_arrays,
)

Row = dict[str, Any]
Part = Mapping[str, Any]
VALUES = ("estimate", "low", "high", "p", "p_holm", "n")
_NO_ARM = ""


class Study:
    """A published study.

    Parameters
    ----------
    folder : Path
        A folder of results, which has study.yaml.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def spec(self) -> Part:
        """What study.yaml has under `published`."""
        return published(self.folder)

    def frames(self, *names: str) -> Frames:
        """Return the runs and predictions of other studies; by default, of this one and those that it pools."""
        pools = self.spec.get("pools", [])
        if unknown := {*names} - {self.folder.name, *self.spec.get("reads", []), *pools}:
            raise StudyError(f"{self.folder / 'study.yaml'}: published: add {', '.join(sorted(unknown))} to reads")
        own = [self.folder.name] if any(self.folder.glob("frames*")) else []
        return read(*(self.folder.parent / name for name in names or (*own, *pools)))

    @cached_property
    def runs(self) -> pd.DataFrame:
        """The runs of this study, and of those that it pools."""
        runs = self.frames().runs
        names = {run_id: name for name in self.spec.get("pools", []) for run_id in self.frames(name).runs["run_id"]}
        return runs.copy().assign(study=[names.get(run_id, self.folder.name) for run_id in runs["run_id"]])

    @cached_property
    def predictions(self) -> StudyPredictions:
        """The predictions of the networks of `runs`."""
        return StudyPredictions(self.frames().predictions)

    @cached_property
    def chosen(self) -> pd.DataFrame:
        """The runs that `networks` chooses."""
        wanted = [fits(self.runs, each) for each in self.spec.get("networks", [{}])]
        return self.runs[np.logical_or.reduce(wanted)].reset_index(drop=True)

    @cached_property
    def arrays(self) -> RunArrays:
        """The runs of `chosen` as arrays."""
        return run_arrays(self.chosen.drop(columns="study"))

    @cached_property
    def arms(self) -> pd.DataFrame:
        """The seed and run_id of the runs of `chosen`, and their arm on each axis."""
        return self._with_arms(self.chosen)[["seed", "run_id", *self.spec.get("axes", {})]]

    def _with_arms(self, runs: pd.DataFrame) -> pd.DataFrame:
        return runs.assign(**{axis: arms_of(runs, arms) for axis, arms in self.spec.get("axes", {}).items()})

    @cached_property
    def networks(self) -> pd.DataFrame:
        """The rows of `arms` whose network is not at chance, with all outcomes."""
        if isinstance(self.spec.get("networks"), str):
            return self._with_arms(call(self.spec["networks"], self))
        networks = self.arms.merge(outcomes.outcomes(self.chosen), on="run_id")
        asked = {name for key in ("means", "compare") for part in self.spec.get(key, []) for name in part["outcomes"]}
        if asked.intersection(outcomes.FROM_CONTROL):
            networks = networks.merge(outcomes.from_control(self.arrays), on="run_id", how="left")
        if "named" in self.spec:
            networks = networks.merge(outcomes.named_costs(self.arrays, self.spec["named"]), on="run_id")
        return networks

    def confined(self, table: pd.DataFrame, part: Part, axes: Sequence[str]) -> pd.DataFrame:
        """Return the rows of `arms` or `networks` to which a list is confined that names `axes` itself."""
        usual = {axis: arms for axis, arms in self.spec.get("where", {}).items() if axis not in axes}
        for axis, arms in (usual | part.get("where", {})).items():
            wanted = [*map(str, arms if isinstance(arms, list) else [arms])]
            if unknown := {*wanted} - {*table[axis].cat.categories}:
                raise StudyError(f"{self.folder / 'study.yaml'}: published: {axis} has no arm {', '.join(unknown)}")
            table = table[table[axis].isin(wanted)]
        if unknown := {*axes, *part.get("outcomes", [])} - {*table}:
            raise StudyError(f"{self.folder / 'study.yaml'}: published: no axis or outcome {', '.join(unknown)}")
        return table


def published(folder: Path) -> Part:
    """Return what the study.yaml of a folder has under `published`.

    Raises
    ------
    StudyError
        If the file is missing or is no YAML.
    """
    file = folder / "study.yaml"
    try:
        return yaml.safe_load(file.read_text(encoding="utf-8")).get("published", {})
    except (OSError, yaml.YAMLError) as error:
        raise StudyError(f"{file}: {' '.join(str(error).split())}") from error


def fits(runs: pd.DataFrame, condition: Part) -> pd.Series:
    """Return whether each run fits a condition, which maps names of params to a value or a list of values.

    Raises
    ------
    StudyError
        If a name is neither a column nor an option.
    """
    keep = pd.Series(True, runs.index)
    for name, wanted in condition.items():
        values, wanted = param(runs, name), wanted if isinstance(wanted, list) else [wanted]
        if all(isinstance(each, int | float) for each in wanted):
            values = pd.to_numeric(values, errors="coerce")
        keep &= values.isin(wanted)
    return keep


def arms_of(runs: pd.DataFrame, arms: Mapping[Any, Part] | str) -> pd.Categorical:
    """Return the arm of each run on an axis; `_NO_ARM` if it fits none."""
    if isinstance(arms, str):
        values = param(runs, arms)
        if (parsed := pd.to_numeric(values, errors="coerce")).notna().all():
            values = parsed
        named = values.map("{:g}".format if pd.api.types.is_numeric_dtype(values) else str)
        return pd.Categorical(named, named.iloc[values.argsort(kind="stable")].unique())
    names = [*map(str, arms)]
    named = np.select([fits(runs, condition) for condition in arms.values()], names, _NO_ARM)
    return pd.Categorical(named, [*names, *({_NO_ARM} & {*named})])


def numbers(study: Study) -> pd.DataFrame:
    """Return all numbers of a study.

    Raises
    ------
    StudyError
        If an export is damaged, if study.yaml asks for what is not there, or if two numbers have the same name.
    """
    made = [(part, [*make(study, part)]) for make in _MAKERS for part in study.spec.get(make.__name__, [])]
    rows = [row for part, own in made for row in _with_holm(own, part)]
    keys = dict.fromkeys(name for row in rows for name in row if name not in ("quantity", *VALUES))
    table = pd.DataFrame(rows, columns=["quantity", *keys, *VALUES])
    for key in keys:
        table[key] = [_text(row.get(key)) for row in rows]
    named, primaries = names(table), study.spec.get("primary", [])
    twice = named[named.duplicated()]
    if len(twice):
        raise StudyError(f"{study.folder / 'study.yaml'}: published: several numbers are called {twice.iloc[0]}")
    if missing := sorted({*primaries} - {*named}):
        raise StudyError(f"{study.folder / 'study.yaml'}: published: primary: no number is called {missing[0]}")
    if primaries:
        primary = named.isin(primaries)
        table.loc[primary, "p_holm"] = corrected(table.loc[primary, "p"], int(primary.sum()))[1]
    return table


def names(table: pd.DataFrame) -> pd.Series:
    """Return the name of each number: its quantity and its keys, joined by slashes."""
    return pd.Series(["/".join(filter(None, row)) for row in table.drop(columns=[*VALUES]).itertuples(index=False)])


def _text(key: Any) -> str:
    if isinstance(key, float):
        return "" if np.isnan(key) else f"{key:g}"
    return "" if key is None else str(key)


def _with_holm(rows: list[Row], part: Part) -> list[Row]:
    """Correct p by Holm's method, if a list has the key `holm`.

    It may have `by`, the keys whose values are families of their own; `only`, which confines the tests, as keys with a
    value or a list of values; and `planned`, the number of planned tests, if some could not be run.
    """
    if "holm" not in part:
        return rows
    table, how = pd.DataFrame(rows).astype({"p": float}), part["holm"] or {}
    tested = table
    for key, wanted in how.get("only", {}).items():
        tested = tested[tested[key].astype(str).isin([*map(str, wanted if isinstance(wanted, list) else [wanted])])]
    for _, p in tested.groupby(how["by"], sort=False)["p"] if "by" in how else [("", tested["p"])]:
        table.loc[p.index, "p_holm"] = corrected(p, max(how.get("planned", 0), len(p)))[1]
    return [{**row, "p_holm": p} for row, p in zip(rows, table["p_holm"], strict=True)]


def means(study: Study, part: Part) -> Iterator[Row]:
    """Yield the mean of each of `outcomes` over the networks of each arm of the axes `by`, with its 95 % interval.

    `of` is a further key. `above` asks for the one-sided p of means that are not above this value.
    """
    for key, own in study.confined(study.networks, part, part["by"]).groupby(part["by"], observed=True):
        for outcome in part["outcomes"]:
            values = own[outcome].dropna()
            low, high = mean_interval(values)
            row = {"quantity": outcome, **dict(zip(part["by"], key, strict=True)), "of": part.get("of")}
            row |= {"estimate": values.mean(), "low": low, "high": high, "n": len(values)}
            if "above" in part:
                row["p"] = paired(values, np.full(len(values), part["above"]), alternative="greater")["p"]
            yield row


def compare(study: Study, part: Part) -> Iterator[Row]:
    """Yield the difference of each of `outcomes` between arms of an `axis`, for each arm of the axes `by`.

    Each of `pairs` is two arms, the second of which is subtracted. Networks are paired by seed, or with
    `test: independent` not at all. If an arm has several networks of a seed, their mean counts. Networks that have no
    arm on one of the axes `by`, as controls have no ratio, are compared at every arm.
    """
    axis, by, of = part["axis"], part["by"], part.get("of")
    test = independent if part.get("test") == "independent" else paired
    networks = study.confined(study.networks, part, [axis, *by])
    for outcome in part["outcomes"]:
        grouped = networks.groupby(["seed", *by, axis], observed=True)[outcome]
        values, counts = grouped.mean().unstack([*by, axis]), grouped.count().unstack([*by, axis])
        values = values.where(counts.eq(counts.max()))  # without a network at chance, the mean would be of others
        columns = {name if by else (name,): column for name, column in values.items()}
        for (one, other), key in product(part["pairs"], product(*(networks[name].cat.categories for name in by))):
            compared = [_column([*columns], (*key, str(arm))) for arm in (one, other)]
            if None not in compared:
                found = test(*(columns[name] for name in compared))
                row = {"quantity": outcome, **dict(zip(by, key, strict=True)), "of": of or f"{one} minus {other}"}
                ends = ("difference", "difference_low", "difference_high", "p")
                yield row | dict(zip(VALUES, (found[end] for end in ends), strict=False)) | {"n": found["n"]}


def _column(columns: Sequence[tuple[str, ...]], key: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return the column of a key, or else that of its arm, the last part, without arms on some of the other axes."""
    of_arm = [column for column in columns if column[-1] == key[-1]]
    like = [column for column in of_arm if all(own in (_NO_ARM, name) for own, name in zip(column, key, strict=True))]
    return max(like, key=lambda column: sum(map(bool, column)), default=None)


def at_equal_accuracy(study: Study, part: Part) -> Iterator[Row]:
    """Yield the difference of each of `outcomes` between arms of an `axis`, as `compare` does, at the same accuracy.

    The second of two arms is interpolated between its arms of the axis `between`, as ratios, and its control. There is
    a row for each arm of `between` that the first has.
    """
    axis, by, between = part["axis"], part["by"], part["between"]
    networks, arrays = study.confined(study.networks, part, [axis, *by, between]), study.arrays
    ids = arrays.runs["run_id"].to_numpy()
    with_control, whole_arms = arrays.with_control(np.arange(len(ids))), networks.groupby([*by, axis], observed=True)
    control_of = pd.Series(ids[arrays.controls[with_control]], ids[with_control])
    for (*key, arm, level), method in networks.groupby([*by, axis, between], observed=True):
        for one, other in (pair for pair in part["pairs"] if pair[0] == arm):
            baseline = whole_arms.get_group((*key, other))
            is_control = study.networks["run_id"].isin(control_of[control_of.index.isin(baseline["run_id"])])
            curve = pd.concat([baseline, study.networks[is_control].assign(**{between: _NO_ARM})])
            for outcome in part["outcomes"]:
                own, whole = (_curve(table, between, outcome, method["seed"]) for table in (method, curve))
                row = {"quantity": f"{outcome}_at_equal_accuracy", **dict(zip(by, key, strict=True)), between: level}
                row |= {"of": f"{one} minus {other}", "n": len(method)}
                row |= dict(zip(VALUES, at_same_accuracy(own, whole), strict=False))
                if not np.isnan(row["estimate"]):
                    yield row


def _curve(networks: pd.DataFrame, between: str, outcome: str, seeds: pd.Series) -> Curve:
    """Return an outcome over the accuracy, at the arms of `between` that all seeds have."""
    accuracy, values = (
        networks.pivot(index=between, columns="seed", values=name).reindex(columns=seeds).dropna().to_numpy()
        for name in ("accuracy", outcome)
    )
    return Curve(accuracy, values, np.ones_like(values))


def costs(study: Study, part: Part) -> Iterator[Row]:
    """Yield what pruning costs the classes of each cell that has controls, named by the arms of the axes `by`.

    `no_class_more` is the largest of the bounds of all losses. The other numbers are of the class with the largest mean
    cost and of those that are listed as `classes`, in which `shown` stands for all with p_holm below .05.
    `cost_if_named` has an interval over networks alone, for a class that an earlier study named; `cost_after_choice`
    has one that allows for choosing the class on these networks. `f1_cost` is the loss of F1 beyond the mean loss of
    F1 over classes, and `worst_in` the number of networks in which the class has the largest cost.
    """
    arrays, arms = study.arrays, study.arms.set_index("run_id")
    wanted = study.confined(arms, part, part["by"])
    for rows in arrays.cells:
        ids = arrays.runs["run_id"].iloc[rows := arrays.with_control(rows)]
        for key, own in wanted[wanted.index.isin(ids)].groupby(part["by"], observed=True):
            of_arm = rows[ids.isin(own.index)]
            found, has = cell_costs(arrays, of_arm, study.predictions)
            if found and found.reference == CONTROL_OF_NETWORK:
                table = found.table.assign(**{"class": arrays.names[has]})
                axes = dict(zip(part["by"], key, strict=True))
                f1 = outcomes.f1_costs(arrays, of_arm, arrays.controls[of_arm], found.own.label, study.predictions)
                yield from _cell_costs(arrays, of_arm, table.assign(f1=f1), found.worst, axes, part.get("classes", []))


def _cell_costs(
    arrays: RunArrays, rows: np.ndarray, table: pd.DataFrame, worst: WorstCost, axes: Row, further: Sequence[str]
) -> Iterator[Row]:
    n = len(rows)
    accuracy_loss = (arrays.accuracy_after[arrays.controls[rows]] - arrays.accuracy_after[rows]).mean()
    yield {"quantity": "accuracy_loss", **axes, "estimate": 100 * accuracy_loss, "n": n}
    yield {"quantity": "no_class_more", **axes, "estimate": 100 * table["loss_from_control_upper_all"].max(), "n": n}
    costliest = table["class"][table["cost"].idxmax()]
    each = outcomes.all_costs(arrays, rows, table["class"])
    is_shown = (table["cost_p"] <= LEVEL) & (table["cost"] > 0) & ("shown" in further)
    for _, row in table[table["class"].isin([costliest, *further]) | is_shown].iterrows():
        own = {**axes, "class": row["class"], "n": n}
        cost, low, high = 100 * row[["cost", "cost_low", "cost_high"]]
        yield {"quantity": "cost", **own, "estimate": cost, "low": low, "high": high, "p_holm": row["cost_p"]}
        loss, bound = 100 * row[["loss_from_control", "loss_from_control_upper_all"]]
        yield {"quantity": "loss", **own, "estimate": loss, "high": bound}
        low, high = mean_interval(each[row["class"]])
        yield {"quantity": "cost_if_named", **own, "estimate": cost, "low": low, "high": high}
        yield {"quantity": "f1_cost", **own, "estimate": row["f1"]}
        yield {"quantity": "worst_in", **own, "estimate": each.idxmax(axis=1).eq(row["class"]).sum()}
    cost, low, high = 100 * worst.cost, 100 * worst.low, 100 * worst.high
    own = {**axes, "class": worst.name, "n": n}
    yield {"quantity": "cost_after_choice", **own, "estimate": cost, "low": low, "high": high}


def tables(study: Study, part: Part) -> Iterator[Row]:
    """Yield the numbers of a table: of the study's `report`, of a `stored` CSV file, or what an own function returns.

    `make` is this function of the study, as `module.name`. The columns `keys` name a row of the table; `rename` gives
    some of them other names. `values` maps quantities, in which `{column}` stands for the row's value, to a column, or
    to the columns of estimate, low, high, p, p_holm and n, null for none. A column x alone is completed by x_low,
    x_high, x_p, x_p_holm and n, if they are there. `times` multiplies estimates and intervals. `where` is a query of
    pandas that chooses rows.
    """
    source = part.get("report") or part.get("stored") or part["make"]
    if "report" in part:
        table = report_of(study.folder)[0][source]
    else:
        table = pd.read_csv(study.folder / source) if "stored" in part else call(source, study)
    table = table.query(part["where"]) if "where" in part else table
    try:
        for row in table.to_dict("records"):
            keys = {part.get("rename", {}).get(key, key): row[key] for key in part["keys"]}
            for quantity, columns in part["values"].items():
                if isinstance(columns, str):
                    columns = [columns, *(f"{columns}{end}" for end in ("_low", "_high", "_p", "_p_holm")), "n"]
                    columns = [columns[0], *(name if name in row else None for name in columns[1:])]
                found = {name: row[column] for name, column in zip(VALUES, columns, strict=False) if column}
                for name in ("estimate", "low", "high"):
                    if name in found:
                        found[name] *= part.get("times", 1)
                yield {"quantity": quantity.format(**row), **keys, **found}
    except KeyError as error:
        file = study.folder / "study.yaml"
        raise StudyError(f"{file}: published: {source} has no column {error}; it has {', '.join(table)}") from error


def call(function: str, *arguments: Any) -> Any:
    """Call a function of a module of results, given as `module.name`.

    Raises
    ------
    StudyError
        If there is no such function.
    """
    module, _, name = function.rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, ValueError, AttributeError) as error:
        raise StudyError(f"published: {function} is no function of results: {error}") from error
    return found(*arguments)


_MAKERS = (means, compare, at_equal_accuracy, costs, tables)
