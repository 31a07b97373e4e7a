"""Command line of the analysis: read options, write files and print a verdict."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

import click

from analysis.common import masking
from analysis.common.command_line import (
    SETTINGS,
    CommandGroup,
    collect_garbage_rarely,
    completion,
    escape_unknown_characters,
)
from analysis.common.interrupts import interrupt_once
from analysis.common.printable import printable

FC = TypeVar("FC", bound=Callable[..., Any])

# Sections of `--help` and their options; a command shows only its own options.
SECTIONS = {
    "Predictions": (
        *("before", "after", "test_before", "test_after", "control"),
        *("label_column", "predicted_column", "pair_by_order", "keep_class_order", "ignore_label", "max_data_gib"),
    ),
    "Numbers in place of predictions": ("classes", "images", "movement"),
    "Groups of images": ("groups",),
    "Runs to read": ("experiment", "study", "folders", "dataset", "ignore_params"),
    "Limits": ("max_class_loss", "max_accuracy_loss", "max_alpha", "limit_from", "min_images"),
    "Choice": ("min_accuracy", "fairness_value"),
    "Statistics": ("variance", "shrinkage"),
    "Results": ("output", "paper", "fail_on_damage"),
}

_EXPERIMENT = click.option(
    "--experiment",
    metavar="NAME",
    help="Name of the MLflow experiment to read.  [default: the one that MLFLOW_EXPERIMENT_NAME or "
    "MLFLOW_EXPERIMENT_ID names, else MLflow's Default]",
)
_STUDY = click.option(
    "--study",
    metavar="NAME",
    help="Name of a study, or its file or folder: read the experiment that contains its runs, in place of "
    "--experiment.  [default: none]",
)
_IGNORE_PARAM = click.option(
    "--ignore-param",
    "ignore_params",
    metavar="NAME",
    multiple=True,
    help="A param of the runs that does not matter for the results, such as an output path: runs that differ only in "
    "it count as runs with the same settings. May be repeated.  [default: none]",
)
_VARIANCE = click.option(
    "--variance",
    type=click.Choice(["welch", "pooled"]),
    default="welch",
    show_default=True,
    help="In t-tests that compare two models or two data sets: estimate a variance for each of the two (welch), or "
    "one variance for both (pooled).",
)


_GROUPS = click.option(
    "--groups",
    multiple=True,
    metavar="[DATASET=]FILE.csv",
    help="Also show what pruning did to groups of test images, such as those of one writer. FILE.csv has a row for "
    "each test image, in test order; a column names the group of each image. With several data sets, give the option "
    "as DATASET=FILE.csv. May be repeated.  [default: none]",
)


_MIN_ACCURACY = click.option(
    "--min-accuracy",
    type=click.FLOAT,
    help="A trade-off between sparsity and fairness is chosen among the networks with at least this accuracy.  "
    "[default: 0.98, or one point below the accuracy of the dense networks if that is lower]",
)
_FAIRNESS_VALUE = click.option(
    "--fairness-value",
    type=click.FLOAT,
    help="How many units of sparsity one unit less of unfairness is worth, to choose a trade-off. Unfairness "
    "is the highest recall of any class minus the lowest.  [default: 100 for iterative pruning or with --min-accuracy, "
    "else no trade-off is chosen]",
)


def _true_or_false(name: str, help: str) -> Callable[[FC], FC]:
    """Return a flag that also takes a value, because `mlflow run -P paper=true` passes `--paper true`."""
    return click.option(
        name,
        is_flag=False,
        flag_value="true",
        type=click.BOOL,
        default=False,
        metavar="TRUE|FALSE",
        help=f"{help} The option without a value means true.  [default: false]",
    )


_PAIR_BY_ORDER = _true_or_false(
    "--pair-by-order",
    "Pair several files in the order given, not by their names. Files of a folder or a glob are sorted by name and "
    "number.",
)
_KEEP_CLASS_ORDER = _true_or_false(
    "--keep-class-order",
    "Accept predictions whose classes seem to be numbered differently from those of the labels or of the model before "
    "pruning. By default they are refused.",
)


def _columns(command: FC) -> FC:
    """Add the options that name columns, or arrays, of files of predictions."""
    for name, whose, usual in (
        ("--predicted-column", "predicted classes", "predicted, y_pred or prediction"),
        ("--label-column", "true classes", "label, y_true or target"),
    ):
        help = (
            f"Column, or array of .npz files, with the {whose}; runs have their own.  [default: names such as {usual}]"
        )
        command = click.option(name, metavar="NAME", type=click.STRING, help=help)(command)
    return command


_MAX_DATA_GIB = click.option(
    "--max-data-gib",
    type=click.FloatRange(0, min_open=True),
    default=1.0,
    show_default=True,
    help="Largest memory, in GiB, for the arrays in one file. A file that needs more is refused.",
)


_SIDES = {
    "--before": "Predictions of the model before pruning. Repeat the option for several seeds.",
    "--after": "Predictions of the pruned model for the same images, given in the same way.",
    "--control": "Predictions of the control: the model of --before, retrained like the pruned model but not pruned. "
    "It tells what retraining alone did. Give as many networks as for --after. If nothing was retrained, repeat the "
    "predictions of --before. If that is one network, it is the control of every network in --after.",
}


def _sides(*required: str) -> Callable[[FC], FC]:
    """Return the options for predictions, some of which may be required."""

    def decorate(command: FC) -> FC:
        for name, help in reversed(_SIDES.items()):
            if name in required:
                option = click.option(name, required=True, multiple=True, metavar="SOURCE", help=help)
            else:
                help = f"{help}  [default: none]"
                option = click.option(name, multiple=True, metavar="SOURCE", help=help)
            command = option(command)
        return command

    return decorate


def _logits(name: str, help: str, *, required: bool) -> Callable[[FC], FC]:
    """Return an option for the logits of a network."""
    default = "" if required else "  [default: cross-fitting]"
    path = click.Path(path_type=Path)
    return click.option(name, required=required, type=path, metavar="FILE.npz", help=f"{help}{default}")


def _experiment(experiment: str | None, study: str | None) -> str | None:
    """Return the name of the experiment chosen by --experiment or --study; None if neither is given."""
    if study is None:
        return experiment
    if experiment is not None:
        raise click.UsageError("--study takes the place of --experiment: leave one of them out")
    from analysis.runs import studies

    return studies.experiment_of(study)


@click.group(cls=CommandGroup, context_settings=SETTINGS, epilog=completion("pruning-analysis"))
@click.version_option(package_name="pruning-study", prog_name="pruning-analysis")
def cli() -> None:
    """Measure what pruning a classifier did to each of its classes."""


@cli.command(
    sections=SECTIONS,
    examples=(
        "pruning-analysis audit --before before.csv --after pruned.csv",
        'pruning-analysis audit --before "dense/*.npz" --after "pruned/*.npz" --control "retrained/*.npz"',
    ),
)
@_sides("--before", "--after")
@_columns
@_PAIR_BY_ORDER
@_KEEP_CLASS_ORDER
@click.option(
    "--ignore-label",
    metavar="LABEL",
    help="Leave out images with this label, such as -1 or -100 for images without a class.  [default: none]",
)
@click.option(
    "--groups",
    type=click.Path(path_type=Path),
    metavar="FILE.csv",
    help="Audit groups of test images instead of classes. FILE.csv has a row for each test image, in test order; a "
    "column names the group of each image.  [default: classes]",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("audit"),
    show_default=True,
    help="Folder that audit.md, audit.csv, audit.png and metrics.csv are written to.",
)
@_MAX_DATA_GIB
@_true_or_false(
    "--fail-on-damage",
    "Exit with code 3 if a class is shown to be worse than before pruning, and with 4 if one of several networks is "
    "shown to be worse in a class, if a network is at chance, or if a network no longer recognises any image of a "
    "class. --max-class-loss is stricter.",
)
@click.option(
    "--max-class-loss",
    type=click.FLOAT,
    metavar="POINTS",
    help="Largest acceptable loss of recall of any class since the model before pruning, in percentage points from 0 "
    "to 100: 5 is five points. The exit code is 0 if every class is shown to lose less, 3 if a class is shown to lose "
    "more, and 4 if neither is shown.  [default: no limit]",
)
@click.option(
    "--max-accuracy-loss",
    type=click.FLOAT,
    metavar="POINTS",
    help="Largest acceptable loss of accuracy, with the same exit codes as for --max-class-loss.  [default: no limit]",
)
@click.option(
    "--limit-from",
    type=click.Choice(["before", "control"]),
    default="before",
    show_default=True,
    help="Whether losses with a limit are measured from the model before pruning or from the control. The control "
    "needs several networks in --after.",
)
@click.option(
    "--min-images",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    metavar="N",
    help="Leave out classes with fewer test images when losses are compared with limits.",
)
@click.pass_context
def audit(
    ctx: click.Context,
    before: tuple[str, ...],
    after: tuple[str, ...],
    control: tuple[str, ...],
    label_column: str | None,
    predicted_column: str | None,
    pair_by_order: bool,
    keep_class_order: bool,
    ignore_label: str | None,
    groups: Path | None,
    output: Path,
    max_data_gib: float,
    fail_on_damage: bool,
    max_class_loss: float | None,
    max_accuracy_loss: float | None,
    limit_from: Literal["before", "control"],
    min_images: int,
) -> None:
    """Find the classes that lost recall, and say whether pruning is to blame.

    Only predictions are needed. A SOURCE is a file, a glob in quotes, a folder of files, or the id of a run in the
    tracking store. A file is a table (CSV, TSV, Parquet, Feather, Arrow, JSON lines) with the columns label and
    predicted, or an .npz file with arrays of these names, with an entry for each test image. Classes are words or whole
    numbers. If all files name their images, in a column such as filename, rows are matched by it. With one network
    before and one after, a confusion matrix or scikit-learn's classification_report in JSON suffices, but intervals are
    wider.

    With several seeds, the files of --before, --after and --control are paired by the numbers and words in their names:
    dense/seed_3.csv and pruned/seed_03.npz belong together. Runs are paired by the dense runs that they start from
    or, if that is impossible, in the order given. A single network before is compared with all networks after.
    """
    from analysis.audit import audit, prediction_files
    from analysis.audit import result as audit_result
    from analysis.audit.prediction_columns import ColumnNames
    from analysis.common import files
    from analysis.compare import blocks
    from analysis.statistics import limits

    within = limits.in_points(max_class_loss, max_accuracy_loss)
    sources = prediction_files.named([*before, *after, *control])
    files.check_inputs(output, sources, "predictions", names=audit_result.FILES)
    files.check_inputs(output, [groups], "groups", names=audit_result.FILES)
    result = audit.audit(
        before,
        after,
        control,
        groups=groups,
        max_data_gib=max_data_gib,
        pair_by_order=pair_by_order,
        columns=ColumnNames(label_column, predicted_column),
        keep_class_order=keep_class_order,
        ignore_label=ignore_label,
    )
    gates = result.comparison.gates(within, limit_from=limit_from, min_images=min_images)
    if fail_on_damage:
        gates["--fail-on-damage"] = result.comparison.damage_gate(min_images)
    asked = blocks.blocks(result.comparison, within, gates, limit_from)
    written = audit_result.write(result, output, asked)
    click.echo(audit_result.summary(result, asked))
    click.echo(f"In {output.absolute()}: {', '.join(written)}")
    ctx.exit(limits.exit_code(gates))


@cli.command(
    sections=SECTIONS,
    examples=(
        'pruning-analysis power --before "dense/*.npz" --after "pruned/*.npz" --control "retrained/*.npz"',
        "pruning-analysis power --classes 10 --images 100",
        "pruning-analysis power --classes 10 --images 1000 --movement 2",
    ),
)
@_sides()
@_columns
@_PAIR_BY_ORDER
@_MAX_DATA_GIB
@click.option("--classes", type=click.INT, help="Number of classes. [default: counted in the predictions]")
@click.option(
    "--images",
    type=click.INT,
    help="Number of test images of each class. [default: counted in the predictions]",
)
@click.option(
    "--movement",
    type=click.FLOAT,
    metavar="POINTS",
    help="Standard deviation of the change in a class's recall between two networks that are trained in the same way, "
    "in percentage points, without the noise of the test images. If it is not given, the table is for one network on "
    "each side.  [default: estimated from the predictions]",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("power"),
    show_default=True,
    help="Folder that power.csv and power.png are written to.",
)
def power(
    before: tuple[str, ...],
    after: tuple[str, ...],
    control: tuple[str, ...],
    label_column: str | None,
    predicted_column: str | None,
    pair_by_order: bool,
    max_data_gib: float,
    classes: int | None,
    images: int | None,
    movement: float | None,
    output: Path,
) -> None:
    """Compute how many test images or networks an audit needs.

    The table gives the loss of a class that four of five audits find, and the smallest limit that unchanged networks
    could keep. From predictions of several pairs of networks, or from a movement, the table is by the number of
    networks on each side (before and after). From predictions of one pair, or from numbers of classes and images
    alone, it is for one network on each side, by the number of test images of a class.
    """
    from analysis.audit import power, prediction_files
    from analysis.audit.prediction_columns import ColumnNames
    from analysis.common import files

    given = before or after or control
    if given and (classes, images, movement) != (None, None, None):
        raise click.UsageError("give either predictions, or --classes and --images")
    if before and after:
        files.check_inputs(
            output, prediction_files.named([*before, *after, *control]), "predictions", names=power.FILES
        )
        columns = ColumnNames(label_column, predicted_column)
        estimate = power.power(
            before, after, control, max_data_gib=max_data_gib, pair_by_order=pair_by_order, columns=columns
        )
    elif given:
        raise click.UsageError(f"{'--after' if before else '--before'} is missing: give predictions before and after")
    elif classes is None or images is None:
        missing = "--classes" if classes is None else "--images"
        raise click.UsageError(f"{missing} is missing: give predictions, or --classes and --images")
    else:
        estimate = power.of_numbers(classes, images, movement)
    power.write(estimate, output)
    click.echo(power.summary(estimate))
    click.echo(f"In {output.absolute()}: {', '.join(power.FILES)}")


@cli.command(
    sections=SECTIONS,
    examples=(
        "pruning-analysis offsets --before dense.npz --after pruned.npz",
        "pruning-analysis offsets --before dense.npz --after pruned.npz --test-before t0.npz --test-after t1.npz",
    ),
)
@_logits("--before", "Logits of the network before pruning.", required=True)
@_logits("--after", "Logits of the pruned network.", required=True)
@_logits("--test-before", "Logits before pruning for other images, on which the offsets are tested.", required=False)
@_logits("--test-after", "Logits after pruning for the images of --test-before.", required=False)
@click.option(
    "--shrinkage",
    type=click.FloatRange(0),
    default=1.0,
    show_default=True,
    help="Strength of shrinkage toward no offset: with 1, a class whose change is within chance gets almost no offset; "
    "with 0, every change is corrected in full.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("class_offsets.csv"),
    show_default=True,
    help="File that the offsets are written to.",
)
@_MAX_DATA_GIB
def offsets(
    before: Path,
    after: Path,
    test_before: Path | None,
    test_after: Path | None,
    shrinkage: float,
    output: Path,
    max_data_gib: float,
) -> None:
    """Fit a logit offset for each class, so that every class loses as much recall as the network loses accuracy.

    Add the offsets to the pruned network's logits, or to the bias of its output layer. A class that lost more
    recall than the network lost accuracy then regains the difference.

    A FILE.npz has an array logits of shape (images, classes), and an array label with the column of each image's class,
    counted from 0. It may also have an array class_names. The images should be new to both networks, such as validation
    images.
    """
    from analysis.audit import class_offsets as offsets
    from analysis.common import files

    files.check_file(output, [before, after, test_before, test_after], "logits")
    result = offsets.fit_files(before, after, test_before, test_after, shrinkage=shrinkage, max_data_gib=max_data_gib)
    offsets.write(result, output)
    click.echo(offsets.summary(result))
    click.echo(f"In {output.absolute()}: the column named offset has the number to add to each class's logit")


@cli.command(
    sections=SECTIONS,
    examples=(
        "pruning-analysis recommend --study quick",
        "pruning-analysis recommend --max-accuracy-loss 2 --max-class-loss 3",
    ),
)
@_EXPERIMENT
@_STUDY
@_IGNORE_PARAM
@click.option(
    "--max-accuracy-loss",
    type=float,
    metavar="POINTS",
    default=1.0,
    show_default=True,
    help="Largest acceptable loss of accuracy, in percentage points from 0 to 100.",
)
@click.option(
    "--max-class-loss",
    type=float,
    metavar="POINTS",
    default=5.0,
    show_default=True,
    help="Largest acceptable loss of recall of any class, in percentage points from 0 to 100: 5 is five points.",
)
@click.option(
    "--max-alpha",
    type=click.FLOAT,
    help="Largest acceptable alpha on new images. Alpha is the factor by which pruning enlarges the classes' "
    "differences in recall, relative to the accuracy; 1 means no change.  [default: no limit]",
)
@_MIN_ACCURACY
@_FAIRNESS_VALUE
@_GROUPS
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="Folder that tables are written to: the settings tried, the trade-off, groups of test images, and the "
    "regression over levels of iterative pruning.  [default: no tables]",
)
def recommend(
    experiment: str | None,
    study: str | None,
    ignore_params: tuple[str, ...],
    max_accuracy_loss: float,
    max_class_loss: float,
    max_alpha: float | None,
    min_accuracy: float | None,
    fairness_value: float | None,
    groups: tuple[str, ...],
    output: Path | None,
) -> None:
    """Recommend the largest safe pruning ratio.

    The ratio is parameters before pruning / parameters after it. A ratio is safe if all losses against the control are
    shown to be within the limits on test images, and none since the dense networks is shown to be beyond them. Without
    a control, losses are since the dense networks. A report uses the same rule with the default limits of this command.
    """
    from analysis.common import files
    from analysis.recommend import recommend
    from analysis.recommend import result as recommendation
    from analysis.study.groups import named_files

    if output:
        files.check_inputs(output, named_files(groups), "groups", names=list(recommendation.FILES))
    recommendations = recommend.recommend_ratio(
        _experiment(experiment, study),
        max_accuracy_loss=max_accuracy_loss,
        max_class_loss=max_class_loss,
        max_alpha=max_alpha,
        min_accuracy=min_accuracy,
        fairness_value=fairness_value,
        ignore_params=ignore_params,
        groups=groups,
    )
    click.echo("\n\n".join(map(recommendation.summary, recommendations)))
    for note in recommendations.write(output) if output else ():
        click.echo(note)


@cli.command(sections=SECTIONS, examples=("pruning-analysis export --study quick --output study.zip",))
@_EXPERIMENT
@_STUDY
@_IGNORE_PARAM
@click.option("--dataset", metavar="NAME", help="Write the runs of this data set only.  [default: all data sets]")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("frames"),
    show_default=True,
    help="Folder that the files are written to. If the name ends in .zip, they are written to one file.",
)
def export(
    experiment: str | None, study: str | None, ignore_params: tuple[str, ...], dataset: str | None, output: Path
) -> None:
    """Write an experiment to a folder of small files, or to one file.

    `report --frames` reads either without a tracking server.
    """
    from analysis.study.study import StudyData

    data = StudyData.from_store(_experiment(experiment, study), ignore_params=ignore_params, dataset=dataset)
    written = data.export(output)
    size = sum(path.stat().st_size for path in ([output] if output.is_file() else [output / name for name in written]))
    click.echo(f"{data.counted()} runs in {output.absolute()}, {size:,} bytes")


@cli.command(
    sections=SECTIONS,
    examples=(
        "pruning-analysis report --study quick",
        "pruning-analysis report --frames frames --output report",
    ),
)
@_EXPERIMENT
@_STUDY
@_IGNORE_PARAM
@click.option(
    "--frames",
    "folders",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="PATH",
    help="Read a folder or a file that `export` wrote, in place of an experiment. Repeat the option to read several as "
    "one study.  [default: none]",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("report"),
    show_default=True,
    help="Folder that the report is written to.",
)
@_VARIANCE
@_true_or_false(
    "--paper",
    "Add the papers' tables, figures, claims and printed values, and precision and F1.",
)
@_GROUPS
@_MIN_ACCURACY
@_FAIRNESS_VALUE
def report(
    experiment: str | None,
    study: str | None,
    ignore_params: tuple[str, ...],
    folders: tuple[Path, ...],
    output: Path,
    **options: Any,
) -> None:
    """Write the report of an experiment: a page, tables and figures.

    The files are also sent to MLflow, as a run of kind `report`, unless --frames is given.
    """
    if folders and (experiment or study):
        name = "--experiment" if experiment else "--study"
        raise click.UsageError(f"--frames takes the place of {name}: leave one of them out")
    if folders and ignore_params:
        raise click.UsageError("--ignore-param does not apply to --frames: give it to `export`, which made the folders")
    from analysis.common import files
    from analysis.rendering import page
    from analysis.report import report
    from analysis.study.study import ReportOptions, StudyData

    files.check_inputs(output, folders, "runs")
    report.check_output(output, options["groups"])
    report_options = ReportOptions(**options)
    if folders:
        data = StudyData.from_frames(folders)
    else:
        experiment = _experiment(experiment, study)
        data = StudyData.from_store(experiment, ignore_params=ignore_params)
    result = report.report(data, report_options)
    written = page.write(result, output)
    click.echo("\n\n".join(map(printable, result.verdict)))
    click.echo(f"{len(written)} files in {output.absolute()}; start with report.html")
    if not folders:
        click.echo(f"run {report.log(written, output, experiment, verdict=result.verdict, study=study)}")


@cli.command(sections=SECTIONS, examples=("pruning-analysis compare --study lenet5",))
@_EXPERIMENT
@_STUDY
@_IGNORE_PARAM
@_VARIANCE
def compare(
    experiment: str | None,
    study: str | None,
    ignore_params: tuple[str, ...],
    variance: Literal["welch", "pooled"],
) -> None:
    """Print published values beside those of an experiment.

    The output is CSV with the values in the tables of Good et al. (2022), the values of the experiment, and their
    differences.
    """
    from analysis.report.papers.recall_distortion import tables
    from analysis.runs import pull
    from analysis.study import cells
    from analysis.study.arrays import run_arrays

    runs = pull.pull_runs(_experiment(experiment, study), ignore_params=ignore_params)
    frame = tables.compare(runs, cells.alphas(run_arrays(runs)), variance=variance)
    click.echo(frame.to_csv(index=False, float_format="%.6g"), nl=False)
    advice = [] if len(frame) else [tables.CELLS_IN_PRINT]
    for note in [*runs.attrs["left_out"], *frame.attrs["notes"], *advice]:
        click.echo(printable(note), err=True)


def main() -> None:
    """Run the console script `pruning-analysis`."""
    collect_garbage_rarely()
    escape_unknown_characters()
    interrupt_once()
    masking.install()
    cli(prog_name="pruning-analysis")


if __name__ == "__main__":
    main()
