"""The public functions and their results: tables of trained and pruned networks, with pictures in a notebook."""

import base64
import html
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.common import arguments
from analysis.common.errors import StudyError, did_you_mean
from analysis.common.masking import without_secrets
from analysis.common.printable import printable
from analysis.common.terminal import folded
from analysis.compare import blocks, likely_losses
from analysis.compare.comparison import Comparison
from analysis.rendering.drawing import with_legend
from analysis.runs import schema
from analysis.runs.options.record import default_text
from analysis.runs.options.values import seeds
from analysis.statistics.hypothesis_tests import wilson_interval
from analysis.statistics.implied_losses import implied_losses
from analysis.statistics.losses import from_recalls
from pruning_study.commands import iterate as iterate_command
from pruning_study.commands import pruning_text, train_and_prune
from pruning_study.options.config import CompressConfig, IterateConfig, PruneConfig, StudyConfig, TrainConfig
from pruning_study.steps import pictures
from pruning_study.steps.measured import confusion_table

Config = TypeVar("Config", TrainConfig, PruneConfig, IterateConfig, CompressConfig, StudyConfig)
SeededConfig = TypeVar("SeededConfig", TrainConfig, PruneConfig, IterateConfig, CompressConfig)


@dataclass(frozen=True, eq=False)
class Training:
    """A trained network, or several that differ in the seed.

    Attributes
    ----------
    table : DataFrame
        A row for each class, the class with the lowest recall first: class, recall and its 95 % interval (recall_low,
        recall_high), support (test images), and likely_recall, as `likely_losses.HOW_GOOD` describes it. For one
        network, the interval is Wilson's; for several, recall is the mean, and the interval is that of t over
        networks, NaN if all have the same recall.
    runs : DataFrame
        A row for each seed: seed, accuracy, run_id.
    picture : bytes
        Confusion matrix, averaged over the seeds, as PNG.
    """

    table: pd.DataFrame
    runs: pd.DataFrame
    picture: bytes

    @property
    def run_id(self) -> str:
        """The dense run, if there is one seed."""
        return str(_of_one_seed(self.runs)["run_id"].iloc[0])

    @property
    def accuracy(self) -> float:
        """Mean test accuracy over the seeds."""
        return float(self.runs["accuracy"].mean())

    def __str__(self) -> str:
        cells = self.table.to_string(index=False, float_format="{:.3f}".format)
        return f"{_networks(self.runs)}: accuracy {self.accuracy:.3f}\n\n{cells}\n\n{folded(likely_losses.HOW_GOOD)}"

    def _repr_html_(self) -> str:
        """Return the tables and the picture as HTML, for a notebook."""
        title = f"{_networks(self.runs)}: accuracy {self.accuracy:.3f}"
        cells = self.table.assign(recall=_with_interval(self.table, "recall")).drop(
            columns=["recall_low", "recall_high"]
        )
        tables = _html(cells) + _paragraph(likely_losses.HOW_GOOD) + _html(self.runs)
        return _paragraph(title) + tables + _images([self.picture], "Confusion matrix")


@dataclass(frozen=True, eq=False)
class Pruning:
    """A network that was pruned at one ratio or several, or several networks that differ in the seed.

    Attributes
    ----------
    table : DataFrame
        A row for each ratio and class; at each ratio, the class that lost most is first. The columns are `ratio` and
        those of `Comparison.table`, such as `class`, `recall_before`, `recall_after`, `loss` since the dense network
        with its 95 % interval, and `damaged`: whether the loss is shown. For several networks, recalls and losses are
        means over them, and intervals allow for chance in networks and images.
    summary : DataFrame
        A row for each ratio.

        - `realized_ratio`, `accuracy_before`, `accuracy_after`, `accuracy_loss`
        - `alpha`, `raw_slope`: means over the seeds.
        - `alpha_new`, `raw_slope_new`: the slopes on new images.
        - `..._low`, `..._high`: 95 % intervals of the slopes and of `accuracy_loss`, NaN if there is no interval.
          `alpha` and `raw_slope` have an interval only for several seeds; `alpha_new` and `raw_slope_new` have one only
          if the classes differ enough to identify a slope.
    runs : DataFrame
        A row for each seed and ratio: seed, ratio, realized_ratio, accuracy_before, accuracy_after, alpha, raw_slope,
        largest_excess, largest_excess_floor, dense_run_id, run_id.
    pictures : dict of float to bytes
        Pictures of recall and recall balance before and after pruning, as PNG, by ratio.
    changes : dict of float to Comparison
        The comparison of the networks before and after pruning, by ratio.
    remarks : list of str
        Sentences on what was pruned: nothing, or one given network with every seed.
    """

    table: pd.DataFrame
    summary: pd.DataFrame
    runs: pd.DataFrame
    pictures: dict[float, bytes]
    changes: dict[float, Comparison]
    remarks: list[str]

    @property
    def verdict(self) -> str:
        """The answers to both questions at each ratio."""
        named = pruning_text.named(self.changes)
        return "\n".join(f"{name}\n{blocks.text(blocks.blocks(comparison))}" for name, comparison in named.items())

    def plot(self, ratio: float | None = None, ax: Axes | None = None) -> Figure:
        """Draw the recall of each class before and after pruning, with the interval of its loss.

        Parameters
        ----------
        ratio : float, optional
            By default the largest.
        ax : Axes, optional
            Axes to draw on, with a legend below; by default those of a new figure.

        Returns
        -------
        Figure
            The figure of the axes.

        Raises
        ------
        StudyError
            If no network was pruned at this ratio.
        """
        ratio = max(self.changes) if ratio is None else ratio
        if ratio not in self.changes:
            raise StudyError(
                f"no network was pruned at {ratio:g}: choose {', '.join(map(str, self.changes))}", option="ratio"
            )
        if ax is None:
            return pictures.recall_picture(self.changes[ratio])
        pictures.recalls(ax, self.changes[ratio])
        return with_legend(ax)

    @property
    def dense_run_id(self) -> str:
        """The dense run, if there is one seed."""
        return str(_of_one_seed(self.runs)["dense_run_id"].iloc[0])

    @property
    def run_ids(self) -> dict[float, str]:
        """The pruned run of each ratio, if there is one seed."""
        return _of_one_seed(self.runs).set_index("ratio")["run_id"].to_dict()

    def __str__(self) -> str:
        ratios = self.summary.set_index(schema.RATIO)[schema.REALIZED_RATIO].to_dict()
        return pruning_text.text(self.changes, ratios, details=True, remarks=self.remarks)

    def _repr_html_(self) -> str:
        """Return the answers, the tables and the pictures as HTML, for a notebook."""
        parts = [_paragraph(_networks(self.runs))]
        for ratio, comparison in self.changes.items():
            answers = blocks.html_text(blocks.blocks(comparison))
            parts += [f"<h3>Ratio {ratio:g}</h3>", answers, blocks.html_table(comparison)]
        pictures = _images(self.pictures.values(), "Recall of each class before and after pruning")
        return "".join([*parts, _html(self.summary), _paragraph(blocks.READING, *self.remarks), pictures])


@dataclass(frozen=True, eq=False)
class Iterating:
    """A network that was pruned repeatedly, or several networks that differ in the seed.

    Attributes
    ----------
    runs : DataFrame
        A row for each seed and iteration, from 1: seed, iteration, sparsity, ratio, realized_ratio, accuracy_before,
        accuracy_after, alpha, raw_slope, largest_excess, largest_excess_floor, dense_run_id, run_id.
    """

    runs: pd.DataFrame

    def __str__(self) -> str:
        return f"{_networks(self.runs, several='')}\n\n{self.runs.to_string(index=False)}"

    def _repr_html_(self) -> str:
        """Return the table as HTML, for a notebook."""
        return _paragraph(_networks(self.runs, several="")) + _html(self.runs)


@dataclass(frozen=True, eq=False)
class Compression:
    """The smallest or fastest network in which no class loses more recall than allowed.

    Attributes
    ----------
    verdict : str
        The chosen chain and its result on test images, in lines of one or two sentences.
    state : {"within", "beyond", "undecided", "none"}
        Whether the losses of the chosen chain are within the limits on test images; `none` if no chain is within the
        limits on validation images.
    chains : DataFrame
        A row for each chain that could be made: its steps, its size and speed, its losses on validation images with
        upper bounds, and its run.
    table : DataFrame, optional
        A row for each class, measured on test images: images, recall_before, recall_after, recall_delivered, loss
        (since the dense network), and loss_upper, its upper bound with 95 % confidence. For several networks, all but
        recall_delivered are means or bounds of means. None if no chain is chosen.
    run_id : str
        The compressed run of the chosen chain, whose artifact `model.onnx` is the network; empty if no chain is chosen.
    job_run_id : str
        The job, whose artifacts are `compressed.onnx`, `model_card.md` and the pictures.
    """

    verdict: str
    state: str
    chains: pd.DataFrame
    table: pd.DataFrame | None
    run_id: str
    job_run_id: str

    def __str__(self) -> str:
        return folded(*self.verdict.splitlines())

    def _repr_html_(self) -> str:
        """Return the sentences and the tables as HTML, for a notebook."""
        table = "" if self.table is None else _html(self.table)
        return _paragraph(*self.verdict.splitlines()) + table + _html(self.chains)


def compress(**options: Any) -> Compression:
    """Search for the smallest or fastest network in which no class loses more recall than allowed.

    Parameters
    ----------
    **options
        The options of `pruning-study compress`, with underscores: `dataset`, `model` or `dense_run_id`,
        `max_class_loss`, `max_accuracy_loss`, `minimize`, `n_trials`, `budget`, ... Other options have the command's
        defaults; None means auto.

    Returns
    -------
    Compression
        A notebook shows the tables.

        - `.verdict`: the chosen chain and its result on test images.
        - `.state`: whether test images confirm the choice.
        - `.table`: the recalls and losses of each class.
        - `.chains`: a row for each chain that could be made.
        - `.run_id`, `.job_run_id`: runs whose artifacts include the network as ONNX and its model card.

    Raises
    ------
    StudyError
        If an option or its value is invalid, if a package of the extras onnx and structured is missing, if the
        validation images are too few for the limits, or if the data or the tracking store cannot be used.

    Examples
    --------
    >>> from pruning_study import compress
    >>> quick = {"epochs": 3, "fine_tune_epochs": 1, "n_trials": 4}
    >>> found = compress(seed=0, max_class_loss=60, max_accuracy_loss=20, **quick)
    >>> len(found.chains), found.state in ("within", "beyond", "undecided", "none")
    (4, True)
    """
    from pruning_study.commands import compress as compress_command
    from pruning_study.study.compression import report

    configs, typed = _configs(CompressConfig, options)
    result = compress_command.compress(configs, typed)
    test = result.outcome.tested
    return Compression(
        verdict="\n".join(report.sentences(result.outcome)),
        state=result.outcome.state,
        chains=result.outcome.trials,
        table=test.classes if test else None,
        run_id=result.run_id,
        job_run_id=result.job_run_id,
    )


def train(**options: Any) -> Training:
    """Train a network, or find the run of an earlier training with the same options.

    Parameters
    ----------
    **options
        The options of `pruning-study train`, with underscores: `dataset`, `model`, `seed` (a number, several, or a
        string such as `0-4`), `epochs`, `batch_size`, ... Other options have the command's defaults; None means auto.

    Returns
    -------
    Training
        `.table`, the recall of each class with its interval; `.accuracy`; `.runs`, a row for each seed; `.run_id`, if
        there is one seed. A notebook shows the tables and the picture.

    Raises
    ------
    StudyError
        If an option or its value is invalid, or if the data or the tracking store cannot be used.

    Examples
    --------
    >>> from pruning_study import train
    >>> trained = train(seed=0, epochs=1)
    >>> list(trained.table), len(trained.runs)
    (['class', 'recall', 'recall_low', 'recall_high', 'support', 'likely_recall'], 1)
    """
    configs, typed = _configs(TrainConfig, options)
    results = list(train_and_prune.each_dense(configs, typed))
    classes, predictions = results[0].context.data.classes, [result.dense.dense.predictions for result in results]
    support = np.bincount(predictions[0].label)
    recalls = np.array([each.counts(len(classes)).recall for each in predictions])
    if len(recalls) == 1:
        low, high = wilson_interval(recalls[0] * support, support)
    else:
        low, high = from_recalls(recalls).interval().clip(0)
    recall = {"recall": recalls.mean(0), "recall_low": low, "recall_high": high}
    likely = recalls.mean(0) - implied_losses(recalls.mean(0), support, likely_losses.ACCURACY_LOSS)
    table = pd.DataFrame({"class": list(classes), **recall, "support": support, "likely_recall": likely})
    confusion = sum(confusion_table(each, classes) for each in predictions)
    return Training(
        table.sort_values("recall", ignore_index=True),
        pd.DataFrame(
            {
                "seed": [result.plan.options.seed for result in results],
                "accuracy": [each.accuracy for each in predictions],
                "run_id": [result.dense.run_id for result in results],
            }
        ),
        _png(pictures.confusion(confusion, _title(results[0].plan.name, results))),
    )


def prune(**options: Any) -> Pruning:
    """Prune a network and fine-tune it. The network is trained first, unless a run with its options exists.

    Parameters
    ----------
    **options
        The options of `pruning-study prune`, with underscores: those of `train`, and `pruner`, `ratio` (a number or
        several), `dense_run_id`, `fine_tune_epochs`, `schedule`, ... Other options have the command's defaults; None
        means auto.

    Returns
    -------
    Pruning
        A notebook shows the table, the verdict and the pictures.

        - `.table`: the loss of each class at each ratio, with intervals.
        - `.summary`: accuracy, alpha and raw slope at each ratio, with intervals.
        - `.verdict`: whether the network is worse than the dense network, and whether pruning is to blame.
        - `.runs`: a row for each seed and ratio.
        - `.run_ids`: a run for each ratio, if there is one seed.
        - `.plot()` draws the recalls of classes as a Matplotlib figure.

    Raises
    ------
    StudyError
        If an option or its value is invalid, or if the data or the tracking store cannot be used.

    Examples
    --------
    >>> from pruning_study import prune
    >>> pruned = prune(pruner="up", ratio=10, seed=0, epochs=1, fine_tune_epochs=1)
    >>> list(pruned.table)[:8]
    ['ratio', 'class', 'images', 'recall_before', 'recall_after', 'loss', 'loss_low', 'loss_high']

    With several seeds, recalls are means over networks, and intervals allow for chance in networks and images:

    >>> pruned = prune(pruner="up", ratio=10, seed="0-1", epochs=1, fine_tune_epochs=1)
    >>> len(pruned.table), pruned.runs[["seed", "ratio"]].to_numpy().tolist()
    (10, [[0.0, 10.0], [1.0, 10.0]])
    """
    if options.get("control") not in (None, "none"):
        raise StudyError(
            "only the command pruning-study prune makes a control: call prune again with pruner='none'",
            option="control",
        )
    configs, typed = _configs(PruneConfig, {**options, "control": "none"})
    results = list(train_and_prune.each_pruned(configs, typed))
    changes, realized_ratios = train_and_prune.changes_of_classes(results), train_and_prune.realized_ratios(results)
    name = results[0].plan.pruned_name
    return Pruning(
        table=pd.concat(
            [pd.DataFrame({schema.RATIO: ratio, **change.ranked}) for ratio, change in changes.items()],
            ignore_index=True,
        ),
        summary=pd.DataFrame([_summary(ratio, realized_ratios[ratio], change) for ratio, change in changes.items()]),
        runs=pd.concat([_runs(result) for result in results], ignore_index=True),
        pictures={
            ratio: _png(pictures.recall_change(change, _title(name(ratio), results)))
            for ratio, change in changes.items()
        },
        changes=dict(changes),
        remarks=train_and_prune.remarks(results),
    )


def iterate(**options: Any) -> Iterating:
    """Prune a network repeatedly, and train it after each pruning.

    Parameters
    ----------
    **options
        The options of `pruning-study iterate`, with underscores: those of `train`, and `pruner`, `iterations`, `keep`,
        `weight_treatment`, `dense_run_id`, ... Other options have the command's defaults; None means auto.

    Returns
    -------
    Iterating
        `.runs`, a row for each seed and iteration, which a notebook shows.

    Raises
    ------
    StudyError
        If an option or its value is invalid, or if the data or the tracking store cannot be used.

    Examples
    --------
    >>> from pruning_study import iterate
    >>> iterated = iterate(pruner="global-unstructured", iterations=3, seed=0, epochs=1)
    >>> iterated.runs[["iteration", "sparsity"]].round(2).to_numpy().tolist()
    [[1.0, 0.2], [2.0, 0.36]]
    """
    configs, typed = _configs(IterateConfig, options)
    results = iterate_command.each_iterated(configs, typed)
    return Iterating(
        pd.concat([_with_lineage(iterate_command.summary(one), one) for one in results], ignore_index=True)
    )


def _summary(ratio: float, realized_ratio: float, changes: Comparison) -> dict[str, float]:
    accuracy, slopes = changes.accuracy, changes.slopes
    row = {
        schema.RATIO: ratio,
        schema.REALIZED_RATIO: realized_ratio,
        "accuracy_before": accuracy["before"],
        "accuracy_after": accuracy["after"],
    }
    nothing = (np.nan, np.nan, np.nan)
    new, raw_new = (
        interval[:3] if interval is not None and interval.identified else nothing
        for interval in (slopes.new, slopes.raw_new)
    )
    for column, values in {
        "accuracy_loss": [accuracy[f"loss{end}"] for end in ("", "_low", "_high")],
        schema.ALPHA: (slopes.alpha, slopes.low, slopes.high),
        schema.RAW_SLOPE: (slopes.raw_slope, slopes.raw_slope_low, slopes.raw_slope_high),
        "alpha_new": new,
        "raw_slope_new": raw_new,
    }.items():
        row |= dict(zip((column, f"{column}_low", f"{column}_high"), values, strict=True))
    return row


def _runs(result: train_and_prune.Pruned) -> pd.DataFrame:
    pruned = [({schema.RATIO: ratio}, run) for ratio, run in result.pruned.items()]
    return _with_lineage(train_and_prune.summary(result.dense, pruned, result.context.data.classes), result)


def _with_lineage(rows: pd.DataFrame, result: train_and_prune.Pruned | iterate_command.Iterated) -> pd.DataFrame:
    """Return the rows of a summary with seed and dense run, and without the recalls of classes."""
    rows = rows[[name for name in rows if not name.startswith("recall_")]]
    rows.insert(0, schema.SEED, result.plan.options.seed)
    rows.insert(len(rows.columns) - 1, schema.DENSE_RUN_ID, result.dense.run_id)
    return rows


def _title(name: str, results: Sequence[Any]) -> str:
    return name if len(results) == 1 else f"{name} and {len(results) - 1} more"


def _of_one_seed(runs: pd.DataFrame) -> pd.DataFrame:
    if (count := runs[schema.SEED].nunique()) > 1:
        raise StudyError(f"there are runs of {count} seeds: choose one from the table .runs")
    return runs


def run_study(file: str | Path, **options: Any) -> pd.DataFrame:
    """Make the missing runs of a study, on all cores.

    This function starts further Python processes, so a script must call it under `if __name__ == "__main__":`.

    Parameters
    ----------
    file : str or Path
        YAML file that lists the values of the options, such as `studies/quick.yaml`, or the folder of its `study.yaml`.
    **options
        The options of `pruning-study study`, with underscores: `workers`, `experiment`, `data_dir`, ...

    Returns
    -------
    DataFrame
        A row for each run: kind, run (its name), state, run_id, error, config_hash.

    Raises
    ------
    StudyError
        If the file has a fault, before any run is made; or if some runs failed, after all others have ended.

    Examples
    --------
    >>> from pathlib import Path
    >>> from pruning_study import run_study
    >>> rows = ["pruner: [none, mp]", "ratio: 10", "seed: 0", "epochs: 1", "fine_tune_epochs: 1"]
    >>> _ = Path("small.yaml").write_text("\\n".join(rows), encoding="utf-8")
    >>> runs = run_study("small.yaml", workers=1, experiment="small")  # doctest: +ELLIPSIS
    3 runs: ...
    >>> runs["kind"].value_counts().to_dict()
    {'pruned': 2, 'dense': 1}
    """
    from pruning_study.study import grid, run

    arguments.check(file=file)
    config, typed = _config(StudyConfig, options)
    if config.dry_run:
        raise StudyError("true makes no runs: use the command line, pruning-study study --dry-run", option="dry_run")
    return run.run(grid.located(Path(file)), config, {"file": str(file), **typed})


def _configs(config: type[SeededConfig], options: Mapping[str, Any]) -> tuple[list[SeededConfig], dict[str, str]]:
    """Return the checked options for each seed, and all options as they would be typed."""
    seed = _plain(options.get(schema.SEED))
    try:
        numbers = (None,) if seed is None else seeds(schema.text(seed))
    except ValueError as error:
        raise StudyError(str(error), option=schema.SEED) from None
    configs, typed = zip(*(_config(config, {**options, schema.SEED: number}) for number in numbers), strict=True)
    return list(configs), typed[0] if seed is None else {**typed[0], schema.SEED: schema.text(seed)}


def _config(config: type[Config], options: Mapping[str, Any]) -> tuple[Config, dict[str, str]]:
    """Return the checked options, and all options as they would be typed."""
    items = {item.name: item for item in fields(config)}
    if unknown := options.keys() - items.keys():
        name = min(unknown)
        raise StudyError(f"no option {name!r}, {did_you_mean(name, items)}")
    values = {name: _plain(value) for name, value in options.items()}
    checked = config(**values)
    typed = {name: default_text(item) for name, item in items.items()}
    typed |= {name: without_secrets(schema.text(value)) for name, value in values.items() if value is not None}
    return checked, typed


def _plain(value: Any) -> Any:
    """Convert a NumPy number to Python's, and a list or array to a tuple."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    return tuple(map(_plain, value)) if isinstance(value, list | tuple | range) else value


def _networks(runs: pd.DataFrame, several: str = "Mean of ") -> str:
    """Name the networks of a result: the number of seeds after a prefix, or the dense run if there is one seed."""
    if (count := runs[schema.SEED].nunique()) > 1:
        return f"{several}{count} seeds"
    dense = runs[schema.DENSE_RUN_ID if schema.DENSE_RUN_ID in runs else "run_id"].iloc[0]
    return f"Dense run {dense}"


def _with_interval(table: pd.DataFrame, name: str) -> list[str]:
    columns = zip(table[name], table[f"{name}_low"], table[f"{name}_high"], strict=True)
    return [f"{value:.3f} ({low:.3f} to {high:.3f})" for value, low, high in columns]


def _paragraph(*lines: str) -> str:
    return f"<p>{'<br>'.join(html.escape(printable(line)) for line in lines)}</p>"


def _html(table: pd.DataFrame) -> str:
    shown = table.map(lambda value: printable(value) if isinstance(value, str) else value)
    return shown.to_html(index=False, float_format="{:.3f}".format)


def _images(pictures: Iterable[bytes], alternative: str) -> str:
    sources = (f"data:image/png;base64,{base64.b64encode(png).decode()}" for png in pictures)
    return "".join(f'<img alt="{alternative}" src="{source}">' for source in sources)


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()
