"""How far a model can be pruned: the largest ratio that surely stays within limits of what pruning may cost."""

import html
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from analysis import operating_points, validation
from analysis.cells import alphas, cells, control_rows
from analysis.formats import NOT_AVAILABLE, decimals, short_ratio, with_interval
from analysis.groups import GivenGroups, Grouped, files_of_datasets, read_groups, sentence
from analysis.groups import groups as by_group
from analysis.operating_points import Preference
from analysis.prune_command import prune_command
from analysis.prune_responsibly.section import fitted_regression
from analysis.runs import characteristics, checks, csv_text, files, frames, pull, schema
from analysis.runs.errors import StudyError
from analysis.runs.frames import ReadPredictions
from analysis.runs.printable import printable
from analysis.settings import CONTROL, ITERATION, is_iterated, method_label, shown_settings
from analysis.statistics.groups import ImageGroups
from analysis.statistics.hypothesis_tests import LEVEL
from analysis.statistics.resampling import mean_interval
from analysis.study import AnalyzedStudy
from analysis.validation import Measured
from analysis.verdict import to_know

_PLACE = [schema.DATASET, schema.MODEL]
# Recalls that were rounded to three digits differ by less.
_SAME_RECALL = 0.001


class Limits(NamedTuple):
    """The most that accuracy may fall, alpha on new images may be, and a class may lose beyond the accuracy."""

    accuracy_loss: float
    alpha: float
    class_loss: float | None = None

    def __str__(self) -> str:
        limits = f"accuracy loss {self.accuracy_loss:g}, alpha {self.alpha:g}"
        return limits if self.class_loss is None else f"{limits}, class loss {self.class_loss:g}"


class Recommendation(NamedTuple):
    """How to prune one model on one data set.

    Attributes
    ----------
    verdict : str
        One sentence or two.
    tried : DataFrame
        A row for each method and ratio, up to the method's first failure. A method is a pruner with its schedule, its
        distillation and its other settings. Columns: pruner, settings, ratio, and what `judged` returns, all on
        validation images, `_high` for one-sided bounds that are corrected for the number of methods.
    notes : list of str
        Sentences on what was left out.
    command : str
        The command line that makes the recommended networks, or finds them; empty if none can be recommended, or if
        no single command makes them.
    choice : str
        Which level is the best trade-off of sparsity and fairness; empty if no such choice is made.
    pareto : DataFrame
        What that choice rests on, as `operating_points.table` returns it; empty if no such choice is made.
    groups : DataFrame
        What the recommended networks do to groups of test images, as `groups.Grouped.groups`; empty without groups.
    """

    verdict: str
    tried: pd.DataFrame
    notes: list[str]
    command: str = ""
    choice: str = ""
    pareto: pd.DataFrame = pd.DataFrame()
    groups: pd.DataFrame = pd.DataFrame()

    def _repr_html_(self) -> str:
        """Return the verdict, what was tried, and the notes, for a notebook."""
        verdict, *notes = (f"<p>{html.escape(printable(said))}</p>" for said in (self.verdict, *self.notes))
        how = f'<pre style="white-space: pre-wrap">{html.escape(printable(self.command))}</pre>' if self.command else ""
        choice = f"<p>{html.escape(printable(self.choice))}</p>" if self.choice else ""
        return f"{verdict}{how}{_notebook_table(self).to_html(index=False)}{choice}{''.join(notes)}"


class Recommendations(list[Recommendation]):
    """Recommendations for each data set and model, which a notebook shows below each other.

    Parameters
    ----------
    found : mapping of tuple to Recommendation
        By data set and model.
    runs : DataFrame
        What they rest on, as `pull.runs` returns it.
    tracking_uri : str, optional
        Where the runs are from.
    """

    def __init__(
        self, found: Mapping[tuple[str, str], Recommendation], runs: pd.DataFrame, tracking_uri: str | None
    ) -> None:
        super().__init__(found.values())
        self._places, self._runs, self._tracking_uri = list(found), runs, tracking_uri

    def _repr_html_(self) -> str:
        return "".join(recommendation._repr_html_() for recommendation in self)

    def write(self, output: str | Path) -> list[str]:
        """Write the tables that the recommendations rest on to a folder, as CSV.

        Parameters
        ----------
        output : str or Path
            It gets `tried.csv` (what was tried), `pareto.csv` (the trade-off of sparsity and fairness), `groups.csv`
            (groups of test images) and `regression.csv` (the regression over levels of iterative pruning). A table
            without rows is not written, and an older one of its name is removed.

        Returns
        -------
        list of str
            Sentences on what the regression leaves out.

        Raises
        ------
        StudyError
            If the folder cannot be written to.
        """
        regression, notes = self._regression()
        tables = {
            "tried.csv": self._joined([each.tried for each in self]),
            "pareto.csv": pd.concat([each.pareto for each in self], ignore_index=True),
            "groups.csv": pd.concat([each.groups for each in self], ignore_index=True),
            "regression.csv": regression,
        }
        with files.aside(Path(output)) as scratch:
            for name, table in tables.items():
                if len(table):
                    csv_text.write(table.rename(columns=frames.param), scratch / name, missing=NOT_AVAILABLE)
        for name, table in tables.items():
            if table.empty:
                (Path(output) / name).unlink(missing_ok=True)
        return notes

    def _joined(self, tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
        """Return tables of all recommendations as one, which names their data sets and models."""
        named = [
            table.assign(**dict(zip(_PLACE, place, strict=True)))[[*_PLACE, *table.columns]]
            for table, place in zip(tables, self._places, strict=True)
        ]
        return pd.concat(named, ignore_index=True)

    def _regression(self) -> tuple[pd.DataFrame, list[str]]:
        if not is_iterated(self._runs).any():
            return pd.DataFrame(), []
        known = characteristics.pulled(self._runs, tracking_uri=self._tracking_uri)
        found = fitted_regression(AnalyzedStudy(self._runs, characteristics=known))
        return found.table, found.notes


def recommend(
    experiment: str | None = None,
    *,
    max_accuracy_loss: float = 0.01,
    max_alpha: float = 1.0,
    max_class_loss: float | None = None,
    min_accuracy: float | None = None,
    fairness_value: float | None = None,
    tracking_uri: str | None = None,
    ignore_params: Sequence[str] = (),
    groups: GivenGroups = (),
) -> Recommendations:
    """Choose a pruner, its settings and a ratio on validation images, and report the choice on test images.

    Parameters, result and errors are those of `analysis.recommend_ratio`.
    """
    if not 0 <= max_accuracy_loss < 1:
        raise StudyError(f"{max_accuracy_loss} should be at least 0 and below 1", option="--max-accuracy-loss")
    if not 0 < max_alpha < math.inf:
        raise StudyError(f"{max_alpha} should be a number above 0", option="--max-alpha")
    if max_class_loss is not None and not 0 <= max_class_loss <= 1:
        raise StudyError(f"{max_class_loss} should be between 0 and 1", option="--max-class-loss")
    given = operating_points.preference(min_accuracy, fairness_value)
    runs = pull.runs(experiment, tracking_uri=tracking_uri, ignore_params=ignore_params)
    quantized = frames.kinds(runs) == schema.QUANTIZED
    if quantized.all():
        raise StudyError("the networks of this experiment are quantised and not pruned: prune at some ratios first")
    runs = frames.rows(runs, ~quantized)
    if (runs[schema.PRUNER] == CONTROL).all():
        raise StudyError(f"the only pruner in this experiment is {CONTROL}: prune at some ratios first")
    notes = [*runs.attrs["left_out"], *_on_quantized(int(quantized.sum()))]
    on_test = partial(pull.predictions, tracking_uri=tracking_uri)
    on_validation = partial(on_test, artifact=schema.VAL_PREDICTIONS)
    files = files_of_datasets(groups, list(dict.fromkeys(runs[schema.DATASET])))
    image_groups = read_groups(files, runs, on_test)
    limits, shown = Limits(max_accuracy_loss, max_alpha, max_class_loss), shown_settings(runs)
    found = {
        place: _recommendation(
            rows,
            shown,
            limits,
            on_validation,
            class_names(rows, on_test),
            notes.copy(),
            partial(prune_command, experiment=experiment, tracking_uri=tracking_uri),
            partial(_on_groups, predictions=on_test, image_groups=image_groups),
            operating_points.wanted_of(rows, given),
        )
        for place, rows in runs.groupby(_PLACE)
        if (rows[schema.PRUNER] != CONTROL).any()
    }
    return Recommendations(found, runs, tracking_uri)


def _on_quantized(number: int) -> Iterator[str]:
    if number:
        runs = checks.counted(pd.Series([schema.QUANTIZED]).repeat(number))
        yield f"{runs} left out: this chooses how far to prune; the report has what a number format costs"


def _recommendation(
    runs: pd.DataFrame,
    shown: Sequence[str],
    limits: Limits,
    predictions: ReadPredictions,
    names: Mapping[int, str],
    notes: list[str],
    command_of: Callable[[pd.DataFrame], str],
    on_groups: Callable[[pd.DataFrame, pd.DataFrame], Grouped],
    wanted: Preference | None,
) -> Recommendation:
    """Return the recommendation for the runs of one data set and model; `notes` gets further sentences."""
    command, of_groups = "", pd.DataFrame()
    tried = _tried(runs, shown, limits, predictions, names, notes)
    passed = tried[tried["fails"] == ""].sort_values([schema.RATIO, "loss"], ascending=[False, True])
    if passed.empty:
        sentences = _nothing_passes(tried, shown, limits)
    else:
        chosen = runs[runs[frames.RUN_ID].isin(passed.iloc[0]["run_ids"])]
        command = command_of(chosen)
        if not command:
            notes.append("No single command makes the recommended networks: they were pruned several times.")
        grouped = on_groups(chosen, runs)
        of_groups = grouped.groups
        said = [_on_validation_images(passed.iloc[0], shown), _on_test_images(chosen, runs)]
        sentences = " ".join([*said, *map(sentence, grouped.groupings.to_dict("records"))])
    name = f"{runs[schema.MODEL].iloc[0]} on {runs[schema.DATASET].iloc[0]}"
    choice, pareto = _choice(runs, shown, wanted, predictions) if wanted else ("", pd.DataFrame())
    tried = tried.drop(columns="run_ids")
    notes += [*to_know(runs), *_on_offsets(runs)]
    return Recommendation(f"{name}: {sentences}", tried, notes, command, choice, pareto, of_groups)


def _on_offsets(runs: pd.DataFrame) -> Iterator[str]:
    offsets = frames.column(schema.CLASS_OFFSETS)
    if offsets in runs and (runs[offsets].fillna("none") != "none").any():
        yield (
            "Class offsets were fitted to the validation images that choose here: there these networks look better "
            "than they are, and their bounds are too low. Judge them by the test images."
        )


def _choice(
    runs: pd.DataFrame, shown: Sequence[str], wanted: Preference, predictions: ReadPredictions
) -> tuple[str, pd.DataFrame]:
    """Return the best trade-off of sparsity and fairness in words, and all points; test images report on it."""
    named = partial(method_label, shown=shown)
    test = operating_points.points(operating_points.on_test(runs), wanted)
    networks = operating_points.on_validation(runs, predictions)
    if len(networks) < len(runs) + runs[schema.DENSE_RUN_ID].nunique():
        images = f"test images, which flatters it, since {schema.VAL_PREDICTIONS} is not in every run"
        return f"Trade-off, chosen on {images}. {' '.join(operating_points.sentences(test, wanted, named))}", (
            operating_points.table(test)
        )
    found = operating_points.points(networks, wanted)
    said = ["Trade-off, chosen on validation images.", *operating_points.sentences(found, wanted, named)]
    key = [schema.PRUNER, schema.RATIO, *shown]
    chosen = found.loc[found["recommended"], key].merge(test, on=key)
    for row in chosen.to_dict("records"):
        which = f" with {named(row)} at ratio {short_ratio(row[schema.RATIO])}" if len(chosen) > 1 else ""
        said.append(f"On test images{which}, {operating_points.cost(row)}.")
    return " ".join(said), operating_points.table(found)


def _tried(
    runs: pd.DataFrame,
    shown: Sequence[str],
    limits: Limits,
    predictions: ReadPredictions,
    names: Mapping[int, str],
    notes: list[str],
) -> pd.DataFrame:
    """Return `Recommendation.tried` and the ids of the runs: every method, ratio by ratio up to its first failure."""
    columns = [schema.PRUNER, *shown]
    axis = [ITERATION] if is_iterated(runs).any() else []
    of_method = [name for name in columns if name not in axis]
    methods = runs[runs[schema.PRUNER] != CONTROL].groupby(of_method, dropna=False)
    level = LEVEL / methods.ngroups
    rows: list[dict[str, Any]] = []
    for _, method in tqdm(methods, desc="recommend", unit=" methods", leave=False, disable=None):
        for _, cell in method.groupby([schema.RATIO, *axis]):
            judgement = judged(validation.measure(validation.answers(cell, predictions, notes), level), limits, names)
            settings = cell.iloc[0][[*columns, schema.RATIO]].to_dict()
            rows.append({**settings, **judgement, "run_ids": list(cell[frames.RUN_ID])})
            if judgement["fails"]:
                break
    return pd.DataFrame(rows)


def judged(measured: Measured, limits: Limits, names: Mapping[int, str]) -> dict[str, Any]:
    """Hold a cell against the limits.

    Each bound has the whole level: a cell that is beyond one limit at least passes only if that one bound is too low
    (intersection-union test).

    Parameters
    ----------
    measured : Measured
    limits : Limits
    names : mapping of int to str
        Names of classes, by label.

    Returns
    -------
    dict
        n, loss, loss_high, alpha, raw_slope, alpha_new, alpha_new_high, largest_excess, largest_excess_high,
        largest_excess_class, and fails, empty if all bounds are within the limits.
    """
    largest = measured.largest_excess
    return {
        "n": measured.n,
        "loss": measured.loss.value,
        "loss_high": measured.loss.high,
        "alpha": measured.alpha,
        "raw_slope": measured.raw_slope,
        "alpha_new": measured.alpha_new.value,
        "alpha_new_high": measured.alpha_new.high,
        "largest_excess": largest.value,
        "largest_excess_high": largest.high,
        "largest_excess_class": next(
            (_named(label, names) for label, excess in measured.excess.items() if excess.value == largest.value), ""
        ),
        "fails": " and ".join(_failures(measured, limits, names)),
    }


def _failures(measured: Measured, limits: Limits, names: Mapping[int, str]) -> Iterator[str]:
    """Yield why a cell cannot be recommended."""
    if measured.n_at_chance:
        yield f"{measured.n_at_chance} of {measured.n + measured.n_at_chance} pruned networks guess"
    elif measured.n < 2:
        yield "one seed says nothing for sure, make more" if measured.n else "all dense networks guess"
    else:
        yield from _exceeds("the accuracy loss", measured.loss.high, limits.accuracy_loss)
        yield from _exceeds("alpha", measured.alpha_new.high, limits.alpha)
        if limits.class_loss is not None:
            labels, bounds = list(measured.excess), [excess.high for excess in measured.excess.values()]
            worst = int(np.argmax(bounds))
            beyond = f"the loss of class {_named(labels[worst], names)} beyond that of the accuracy"
            yield from _exceeds(beyond, bounds[worst], limits.class_loss)


def _exceeds(name: str, high: float, limit: float) -> Iterator[str]:
    if np.isnan(high):
        yield f"{name} is not known from so few images or seeds"
    elif high > limit:
        yield f"{name} may be {high:.3f}, which is {high - limit:.3f} above the limit {limit:g}"


def _named(label: int, names: Mapping[int, str]) -> str:
    return names.get(label, str(label))


def class_names(runs: pd.DataFrame, predictions: ReadPredictions) -> dict[int, str]:
    """Return the names of classes by label.

    Parameters
    ----------
    runs : DataFrame
        Runs of one data set and model, as `pull.runs` returns them.
    predictions : callable
        Takes run ids and returns what the runs predicted for test images.

    Returns
    -------
    dict
        A label is missing if the share of its test images that are right is not the logged recall of one class, and of
        no other, in all dense runs.
    """
    dense = runs.drop_duplicates(schema.DENSE_RUN_ID).set_index(schema.DENSE_RUN_ID)
    logged = dense.filter(regex=f"^{frames.RECALL_BEFORE}").dropna(axis=1, how="all")
    found = predictions(list(dense.index))
    alike: dict[int, np.ndarray] = {}
    for run_id, run in found.items():
        right = run[schema.PREDICTED] == run[schema.LABEL]
        for label in np.unique(run[schema.LABEL]).tolist():
            share = right[run[schema.LABEL] == label].mean()
            near = np.abs(logged.loc[run_id].to_numpy(float) - share) < _SAME_RECALL
            alike[label] = alike.get(label, np.ones_like(near)) & near
    names = logged.columns.str.removeprefix(frames.RECALL_BEFORE)
    return {label: str(names[near][0]) for label, near in alike.items() if near.sum() == 1}


def _nothing_passes(tried: pd.DataFrame, shown: Sequence[str], limits: Limits) -> str:
    reasons = (
        f"With {method_label(row, shown)} at ratio {short_ratio(row[schema.RATIO])}, {row['fails']}."
        for row in tried.to_dict("records")
    )
    confidence = f"{100 * (1 - LEVEL):g} % confidence"
    return f"no ratio meets the limits ({limits}) with {confidence}. {' '.join(reasons)}"


def _on_validation_images(row: pd.Series, shown: Sequence[str]) -> str:
    high = row["largest_excess_high"]
    bound = f"no class more than {100 * high:.1f}" if np.isfinite(high) else "there are too few images for a bound"
    worst = "falls by at most" if row["loss_high"] >= 0 else "rises by at least"
    ratio, falls = short_ratio(row[schema.RATIO]), "falls" if row["loss"] > 0 else "rises"
    return (
        f"prune with {method_label(row, shown)} at ratio {ratio}. Validation images of {row['n']} seeds chose it. On "
        f"them accuracy {falls} by {100 * abs(row['loss']):.1f} points (it {worst} "
        f"{100 * abs(row['loss_high']):.1f}). Alpha on new images is {row['alpha_new']:.2f} (at most "
        f"{row['alpha_new_high']:.2f}). Class {row['largest_excess_class']} loses most beyond the accuracy, "
        f"{100 * row['largest_excess']:.1f} points ({bound})."
    )


def _on_test_images(chosen: pd.DataFrame, runs: pd.DataFrame) -> str:
    """Return the results of the chosen runs on test images. Test images had no part in the choice."""
    slopes = alphas(chosen)
    sound = chosen[chosen[frames.RUN_ID].isin(slopes.loc[~slopes["at_chance"], frames.RUN_ID])]
    if sound.empty:
        return "On test images all these networks guess."
    cell = cells(chosen).iloc[0]
    alpha = f"Alpha is {with_interval(cell['alpha_mean'], cell['ci_low'], cell['ci_high'], decimals(2))}"
    if np.isfinite(cell["alpha_new"]):
        new = with_interval(cell["alpha_new"], cell["alpha_new_low"], cell["alpha_new_high"], decimals(2))
        alpha += f", on new images {new}"
    raw = with_interval(cell["raw_slope_mean"], cell["raw_slope_low"], cell["raw_slope_high"], decimals(2))
    change = _mean_in_points(sound[frames.ACCURACY_AFTER] - sound[frames.ACCURACY_BEFORE])
    pairs = sound.merge(_controls(sound, runs), on=schema.DENSE_RUN_ID, suffixes=("", "_none"))
    if pairs.empty:
        control = f"There is no control {CONTROL} to compare with."
    else:
        beyond = _mean_in_points(pairs[frames.ACCURACY_AFTER] - pairs[f"{frames.ACCURACY_AFTER}_none"])
        control = f"Compared with the control {CONTROL}, which is not pruned, it changes by {beyond} points."
    return f"On test images accuracy changes by {change} points. {control} {alpha}. The raw slope is {raw}."


def _on_groups(
    chosen: pd.DataFrame,
    runs: pd.DataFrame,
    *,
    predictions: ReadPredictions,
    image_groups: Mapping[str, ImageGroups],
) -> Grouped:
    """Return what the chosen runs do to groups of test images; groups had no part in the choice."""
    return by_group(pd.concat([chosen, _controls(chosen, runs)]), predictions, image_groups)


def _controls(chosen: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Return the controls of the chosen runs."""
    runs = runs.reset_index(drop=True)
    rows = control_rows(runs)[runs[frames.RUN_ID].isin(chosen[frames.RUN_ID])]
    return runs.iloc[np.unique(rows[rows >= 0])]


def _mean_in_points(values: pd.Series) -> str:
    low, high = mean_interval(values)
    return with_interval(100 * values.mean(), 100 * low, 100 * high, decimals(1, sign=True))


def summary(recommendation: Recommendation) -> str:
    """Return the verdict, its command, what was tried on validation images, and the notes, for a terminal."""
    tried = _printable_tried(recommendation)
    with pd.option_context("display.unicode.east_asian_width", True):
        table = tried.to_string(index=False, float_format="{:.4g}".format)
    verdict, *notes = map(printable, (recommendation.verdict, *recommendation.notes))
    how = [printable(recommendation.command)] if recommendation.command else []
    return "\n".join(
        [verdict, *how, "", "On validation images, which choose:", table, *_printed(recommendation), *notes]
    )


def _printed(recommendation: Recommendation) -> Iterator[str]:
    """Yield the best trade-off of sparsity and fairness, and the Pareto front that it is chosen from."""
    if recommendation.choice:
        yield "\n" + printable(recommendation.choice)
    front = recommendation.pareto
    if len(front) and front["on_front_2d"].any():
        front = front[front["on_front_2d"]].sort_values(schema.SPARSITY)
        ends = ("_low", "_high", "2d", "3d", "_floor")
        names = [name for name in front if not name.endswith(ends) and front[name].notna().any()]
        left_out = {schema.DATASET, schema.MODEL, "min_accuracy", "unfairness_mean_min"}
        shown = front[[name for name in names if name not in left_out]]
        yield "On the Pareto front:"
        yield shown.map(_text).rename(columns=printable).to_string(index=False, float_format="{:.4g}".format)


def _text(value: Any) -> Any:
    return printable(value) if isinstance(value, str) else value


# Titles of a notebook's table, and the columns that they show: a number with its upper bound, or a text.
_IN_A_NOTEBOOK = {
    "networks": ("n",),
    "accuracy loss (at most)": ("loss", "loss_high"),
    "alpha on new images (at most)": ("alpha_new", "alpha_new_high"),
    "largest class loss beyond it (at most)": ("largest_excess", "largest_excess_high"),
    "of class": ("largest_excess_class",),
    "outside the limits": ("fails",),
}


def _notebook_table(recommendation: Recommendation) -> pd.DataFrame:
    """Return what was tried in few columns, which a notebook has room for."""
    tried = _printable_tried(recommendation)
    settings = tried.loc[:, : schema.RATIO].assign(ratio=tried[schema.RATIO].map("{:g}".format))
    cells = {
        title: tried[names[0]]
        if len(names) == 1
        else [f"{value:.3f} ({high:.3f})" for value, high in zip(*(tried[name] for name in names), strict=True)]
        for title, names in _IN_A_NOTEBOOK.items()
    }
    return settings.assign(**cells)


def _printable_tried(recommendation: Recommendation) -> pd.DataFrame:
    tried = recommendation.tried.rename(columns=lambda column: printable(frames.param(column)))
    return tried.map(_text)
