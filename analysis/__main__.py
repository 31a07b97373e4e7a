"""The command line: options in, files and a verdict out."""

from pathlib import Path
from typing import Literal

import click

from analysis.runs.command_line import SETTINGS, CommandGroup

_EXPERIMENT = click.option(
    "--experiment",
    metavar="NAME",
    default="auto",
    show_default=True,
    callback=lambda ctx, param, value: None if value == "auto" else value,
    help="MLflow experiment. Auto: the current one.",
)
_VARIANCE = click.option(
    "--variance",
    type=click.Choice(["welch", "pooled"]),
    default="welch",
    show_default=True,
    help="Of t-tests between models.",
)


@click.group(cls=CommandGroup, context_settings=SETTINGS)
@click.version_option(package_name="pruning-study", prog_name="pruning-analysis")
def cli() -> None:
    """Say what pruning did to each class."""


@cli.command()
@click.option("--before", required=True, multiple=True, metavar="FILE", help="Predictions of the dense model.")
@click.option("--after", required=True, multiple=True, metavar="FILE", help="Predictions of the pruned model.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("audit"),
    show_default=True,
    help="Folder for audit.md, audit.csv and audit.png.",
)
@click.option("--fail-on-damage", is_flag=True, help="Exit with 3 where a class lost recall.")
@click.pass_context
def audit(
    ctx: click.Context, before: tuple[str, ...], after: tuple[str, ...], output: Path, fail_on_damage: bool
) -> None:
    """Say from predictions alone which classes pruning cost; no tracking server.

    FILE is a CSV with columns label,predicted or an .npz with such arrays; labels may be words. Several seeds:
    repeat the option, or give a glob in quotes. As many files before as after are pairs in the order given,
    those of a glob by name.
    """
    from analysis import audit

    result = audit.audit(before, after)
    audit.write(result, output)
    click.echo(audit.summary(result))
    click.echo(f"In {output.absolute()}: audit.md, audit.csv, audit.png")
    if fail_on_damage and result.damaged:
        ctx.exit(3)


@cli.command()
@_EXPERIMENT
@click.option("--max-accuracy-loss", type=float, default=0.01, show_default=True, help="Accuracy before minus after.")
@click.option("--max-alpha", type=float, default=1.0, show_default=True, help="Alpha on new images.")
def recommend(experiment: str | None, max_accuracy_loss: float, max_alpha: float) -> None:
    """Name the largest ratio, and its pruner, that surely stays within both limits.

    It is chosen on validation images and reported on test images.
    """
    from analysis import recommend

    found = recommend.recommend(experiment, max_accuracy_loss=max_accuracy_loss, max_alpha=max_alpha)
    click.echo("\n\n".join(map(recommend.summary, found)))


@cli.command()
@_EXPERIMENT
@click.option("--dataset", metavar="NAME", help="Its runs alone.")
@click.option("--output", type=click.Path(path_type=Path), default=Path("frames"), show_default=True, help="Folder.")
def export(experiment: str | None, dataset: str | None, output: Path) -> None:
    """Write an experiment to a folder of small files, from which `report --frames` needs no tracking server."""
    from analysis.runs import exports, pull
    from analysis.tuning import exports as tuning_exports

    study = pull.study(experiment)
    if dataset is not None:
        study = exports.of_dataset(study, dataset)
    written = exports.write(study, pull.predictions, output)
    written += tuning_exports.export(experiment, study.runs["run_id"], output)
    size = sum((output / path).stat().st_size for path in written)
    click.echo(
        f"{len(study.runs):,} pruned and {len(study.dense_runs):,} dense runs in {output.absolute()}, {size:,} bytes"
    )


@cli.command()
@_EXPERIMENT
@click.option(
    "--frames",
    "folders",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FOLDER",
    help="What `export` wrote, in place of an experiment; several folders are one study.",
)
@click.option("--output", type=click.Path(path_type=Path), default=Path("report"), show_default=True, help="Folder.")
@click.option(
    "--confidence",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.95,
    show_default=True,
    help="Of the intervals of one model's ratios together.",
)
@_VARIANCE
@click.option(
    "--no-log",
    is_flag=False,
    # A flag takes a value too, since an MLproject can only pass `--no-log {no_log}`.
    flag_value="true",
    type=click.BOOL,
    default=False,
    metavar="TRUE|FALSE",
    help="Send nothing back to MLflow.",
)
def report(
    experiment: str | None,
    folders: tuple[Path, ...],
    output: Path,
    confidence: float,
    variance: Literal["welch", "pooled"],
    no_log: bool,
) -> None:
    """Write the report of an experiment: statistics, tables, figures and a page. Of files, nothing is logged."""
    if folders and experiment:
        raise click.UsageError("--frames takes the place of --experiment: leave one of them out")
    from analysis import page, report
    from analysis.runs import exports
    from analysis.tuning import exports as tuning_exports

    if folders:
        study, predictions = exports.read(folders)
        tunings = tuning_exports.read(folders)
        result = report.from_runs(study.runs, predictions, tunings, confidence=confidence, variance=variance)
    else:
        result = report.report(experiment, confidence=confidence, variance=variance)
    written = page.write(result, output)
    click.echo(result.verdict)
    click.echo(f"{len(written)} files in {output.absolute()}, to begin with report.html")
    if not (no_log or folders):
        click.echo(f"run {report.log(written, output, experiment, None)}")


@cli.command()
@_EXPERIMENT
@_VARIANCE
def compare(experiment: str | None, variance: Literal["welch", "pooled"]) -> None:
    """Print the papers' values beside this study's and their difference, as CSV."""
    from analysis import cells
    from analysis.recall_distortion import tables
    from analysis.runs import pull

    runs = pull.runs(experiment)
    frame = tables.compare(runs, cells.alphas(runs), variance=variance)
    click.echo(frame.to_csv(index=False, float_format="%.6g"), nl=False)
    for note in [*runs.attrs["left_out"], *frame.attrs["notes"]]:
        click.echo(note, err=True)


def main() -> None:
    """Console script `pruning-analysis`."""
    cli(prog_name="pruning-analysis")


if __name__ == "__main__":
    main()
