"""Command line: read options, and print a table, or an error as one line."""

import dataclasses
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from analysis.common import masking
from analysis.common.command_line import (
    SETTINGS,
    Command,
    CommandGroup,
    collect_garbage_rarely,
    completion,
    escape_unknown_characters,
)
from analysis.common.errors import StudyError, option_name
from analysis.common.interrupts import interrupt_once
from analysis.common.masking import without_secrets
from analysis.common.printable import printable
from analysis.runs.schema import text
from pruning_study import __version__
from pruning_study.options.commands import sections
from pruning_study.options.config import (
    CompressConfig,
    ExemplarsConfig,
    ExportConfig,
    GroupsConfig,
    IterateConfig,
    PruneConfig,
    QuantizeConfig,
    RobustnessConfig,
    StudyConfig,
    TrainConfig,
    TuneConfig,
    VerifyConfig,
)
from pruning_study.options.examples import EXAMPLES
from pruning_study.options.record import AUTO, default_text, metavar
from pruning_study.options.table import MAIN_OPTIONS, MOST_SHOWN, OPTIONS
from pruning_study.options.values import boolean, seeds

SECTIONS = sections()
SECTIONS["Files"].insert(0, "key")  # defined at `tally`, not in the options table
# Options that take several values, separated by commas
SEVERAL = {record.name for record in OPTIONS if record.takes_several}
# Commands that continue an interrupted call if they are repeated
CONTINUED = ("train", "prune", "iterate", "study", "tune", "compress", "robustness", "quantize")


class _Checked(click.ParamType):
    """Option type that checks a value as the option's field in the config does, and keeps it as typed."""

    def __init__(self, item: Any) -> None:
        self.item = item
        self.name = "value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if self.item.metadata["auto"] and value == "auto":
            return value
        try:
            self.item.metadata["typed"](value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return value


def _options(config: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that adds a click option for each field of a dataclass."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        for item in reversed(dataclasses.fields(config)):
            # A flag also takes a value, because `mlflow run -P force=true` passes `--force true`.
            flag = {"is_flag": False, "flag_value": "true"} if item.metadata["check"] is boolean else {}
            takes_auto = item.metadata["auto"] or not flag
            settings: dict[str, Any] = {"type": _Checked(item) if takes_auto else click.BOOL, **flag}
            command = click.option(
                option_name(item.name),
                default=default_text(item),
                show_default=True,
                metavar=metavar(item),
                help=item.metadata["help"],
                **settings,
            )(command)
        return command

    return decorate


class _Command(Command):
    """A command that accepts `--no-NAME` instead of `--NAME false` for every flag.

    If an option is given twice, the last value is used; an option that accepts several values may be given only once.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        names = [param.name for param in settings.get("params", ())]
        main = [name for name in MAIN_OPTIONS if name in names] if len(names) > MOST_SHOWN else ()
        super().__init__(*arguments, main_options=main, **settings)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        flags = {option.opts[0] for option in self.params if getattr(option, "flag_value", None) == "true"}
        off = {f"--no-{flag.removeprefix('--')}": f"{flag}=false" for flag in flags}
        args = [off.get(arg, arg) for arg in args]
        _, _, params = self.make_parser(ctx).parse_args(args=list(args))
        for option, count in Counter(params).items():
            if count > 1 and option.name in SEVERAL:
                name = option.opts[0]
                raise click.UsageError(
                    f"{name} is given {count} times: give all values with one {name}, separated by commas", ctx
                )
        return super().parse_args(ctx, args)


class _Group(CommandGroup):
    """A group of commands. If a call fails, the group ends the run that `mlflow run` made for the call."""

    command_class = _Command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            _end_job("FAILED", error.format_message())
            raise
        except KeyboardInterrupt:
            _end_job("KILLED", "interrupted")
            if ctx.invoked_subcommand in CONTINUED:
                click.echo("\ninterrupted: repeat the command to make the missing runs", err=True)
            raise


def _end_job(status: str, reason: str) -> None:
    if os.environ.get("MLFLOW_RUN_ID"):
        from pruning_study.tracking import connect

        connect.end_job(status, reason)


@click.group(cls=_Group, context_settings=SETTINGS, epilog=completion("pruning-study"))
@click.version_option(__version__, prog_name="pruning-study")
def cli() -> None:
    """Train and prune image classifiers, and log to MLflow what pruning did to each class."""


@cli.command(sections=SECTIONS, examples=EXAMPLES["train"])
@_options(TrainConfig)
def train(**typed: Any) -> None:
    """Train a network, or find the run of an earlier training with the same options."""
    configs = [TrainConfig(**{**typed, "seed": seed}) for seed in seeds(typed["seed"])]
    _begin(configs[0])
    from pruning_study.commands import train_and_prune

    for lines in train_and_prune.train_each(configs, _as_typed(typed)):
        click.echo(lines)


@cli.command(sections=SECTIONS, examples=EXAMPLES["prune"])
@_options(PruneConfig)
def prune(**typed: Any) -> None:
    """Prune a network, fine-tune it, and show the loss of each class.

    The network is trained first, unless a run with its options exists. The control, which is the same network
    fine-tuned without pruning, is trained last.
    """
    configs = [PruneConfig(**{**typed, "seed": seed}) for seed in seeds(typed["seed"])]
    _begin(configs[0])
    from pruning_study.commands import train_and_prune

    for lines in train_and_prune.prune_each(configs, _as_typed(typed), click.echo):
        click.echo(lines)


@cli.command(sections=SECTIONS, examples=EXAMPLES["iterate"])
@_options(IterateConfig)
def iterate(**typed: Any) -> None:
    """Prune a network repeatedly, train it after each pruning, and show accuracy, slopes and weakest class.

    The first iteration, number 0, is the dense network, which is trained unless a run with its options exists.
    """
    configs = [IterateConfig(**{**typed, "seed": seed}) for seed in seeds(typed["seed"])]
    _begin(configs[0])
    from pruning_study.commands import iterate as iterate_command

    for lines in iterate_command.iterate_each(configs, _as_typed(typed), click.echo):
        click.echo(lines)


@cli.command(sections=SECTIONS, examples=EXAMPLES["study"])
@click.argument("file", type=click.Path(path_type=Path))
@_options(StudyConfig)
def study(file: Path, **typed: Any) -> None:
    """Make the missing runs of a study, on all cores.

    FILE is a YAML file that lists the values of the options, the folder of such a file study.yaml, or the name of an
    included study, such as quick.
    """
    config = StudyConfig(**typed)
    from pruning_study.study import grid

    file = grid.located(file)
    if config.dry_run:
        from pruning_study.study import dry_run

        click.echo(dry_run.show(file, config))
        return
    from pruning_study.study import processes

    processes.start_server()
    from pruning_study.study import run as study

    study.run(file, config, _as_typed({"file": file, **typed}))


@cli.command(sections=SECTIONS, examples=EXAMPLES["tune"])
@_options(TuneConfig)
def tune(**typed: Any) -> None:
    """Search on validation images for the best --epsilon of undecayed pruning, and test it on test images."""
    config = TuneConfig(**typed)
    _begin(config)
    from pruning_study.commands import tune as tune_command

    click.echo(tune_command.tune(config, _as_typed(typed)))


@cli.command(sections=SECTIONS, examples=EXAMPLES["compress"])
@_options(CompressConfig)
def compress(**typed: Any) -> None:
    """Search for the smallest or fastest network in which no class loses more than you allow, and write it as ONNX.

    Chains of pruning, fine-tuning, class offsets and number formats are judged on validation images, by upper bounds of
    each class's loss. The chosen chain is tested once on test images.
    """
    configs = [CompressConfig(**{**typed, "seed": seed}) for seed in seeds(typed["seed"])]
    _begin(configs[0])
    from pruning_study.commands import compress as compress_command

    click.echo(compress_command.compress(configs, _as_typed(typed)).text)


@cli.command(sections=SECTIONS, examples=EXAMPLES["exemplars"])
@_options(ExemplarsConfig)
def exemplars(**typed: Any) -> None:
    """Draw the test images that dense and compressed networks classify differently (PIEs), and write a labelling sheet.

    The runs must exist already: dense and compressed networks of at least five seeds. The options select one cell,
    such as one pruner and ratio. The labelling sheet has equal numbers of PIEs and other images, and does not tell
    which is which.
    """
    config = ExemplarsConfig(**typed)
    from pruning_study.commands.exemplars import command

    click.echo(command.write(config))


@cli.command(sections=SECTIONS, examples=EXAMPLES["tally"])
@click.argument("sheets", metavar="SHEET.csv...", nargs=-1, required=True)
@click.option(
    "--key",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE.csv",
    help="The file labelling_key.csv that was written with the sheet.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Folder that tally.csv is written to.  [default: none]",
)
def tally(sheets: tuple[str, ...], key: Path, output: Path | None) -> None:
    """Compare annotators' answers on PIEs and on other images.

    SHEET.csv is a labelling sheet of `exemplars` that an annotator has filled in; give one for each annotator.
    """
    from pruning_study.commands.exemplars import tally as exemplars_tally

    paths = [Path(sheet) for text in sheets for sheet in ([text] if Path(text).exists() else text.split(","))]
    click.echo(exemplars_tally.tally(paths, key, None if output == Path(AUTO) else output))


@cli.command(sections=SECTIONS, examples=EXAMPLES["groups"])
@_options(GroupsConfig)
def groups(**typed: Any) -> None:
    """Write a table of the test images with their groups, such as the writers of QMNIST, and measures of each image.

    Pass the table to `--groups` of pruning-analysis. For other groups, add columns of your own.
    """
    config = GroupsConfig(**typed)
    from pruning_study.commands import groups as groups_command

    click.echo(groups_command.write(config))


@cli.command(sections=SECTIONS, examples=EXAMPLES["robustness"])
@click.argument("run_ids", nargs=-1, metavar="[RUN_ID]...")
@_options(RobustnessConfig)
def robustness(run_ids: tuple[str, ...], **typed: Any) -> None:
    """Count the correct predictions of finished networks on corrupted images, or on a folder of further images.

    RUN_ID is a dense, pruned or quantized run; without one, all such runs of the experiment are measured. The counts
    are added to each run, and the report compares them.
    """
    config = RobustnessConfig(**typed)
    from pruning_study.steps import robustness

    named = _named(run_ids)
    click.echo(robustness.measure(config, named, _as_typed({"run_ids": ",".join(named) or AUTO, **typed})))


@cli.command(sections=SECTIONS, examples=EXAMPLES["quantize"])
@click.argument("run_ids", nargs=-1, metavar="[RUN_ID]...")
@_options(QuantizeConfig)
def quantize(run_ids: tuple[str, ...], **typed: Any) -> None:
    """Store networks in smaller number formats, and show their losses, sizes and times.

    RUN_ID is a dense or pruned run. Without one, a network is trained with the options, unless a run with these
    options exists.
    """
    configs = [QuantizeConfig(**{**typed, "seed": seed}) for seed in seeds(typed["seed"])]
    _begin(configs[0].training)
    from pruning_study.commands import quantize as quantize_command

    named = _named(run_ids)
    options = _as_typed({"run_ids": ",".join(named) or AUTO, **typed})
    for lines in quantize_command.quantize_each(configs, named, options):
        click.echo(lines)


@cli.command(sections=SECTIONS, examples=EXAMPLES["export"])
@click.argument("run_id")
@_options(ExportConfig)
def export(run_id: str, **typed: Any) -> None:
    """Write a network as an ONNX file, log it as an MLflow model that can be served, or both.

    RUN_ID is a dense, pruned or quantized run.
    """
    config = ExportConfig(**typed)
    from pruning_study.commands import export as export_command

    click.echo(export_command.export(config, run_id, _as_typed({"run_id": run_id, **typed})))


@cli.command(sections=SECTIONS, examples=EXAMPLES["verify"])
@click.argument("study", required=False, type=click.Path(path_type=Path))
@_options(VerifyConfig)
def verify(study: Path | None, **typed: Any) -> None:
    """Train networks again, and check that they are the same as on every other machine.

    STUDY is a folder or a file that `pruning-analysis export` wrote. Its networks with the given seed that the native
    engine trained are trained again, and their predictions are compared with those in STUDY; the others are counted.
    Without STUDY, three short trainings are run, in about three minutes on one core, and the digests of the networks
    are compared with those stored in this version. Nothing is logged.
    """
    config = VerifyConfig(**typed)
    if study is None or study == Path(AUTO):
        if config.seed is not None:
            raise StudyError(
                "only the networks of a study have seeds to choose from: name a STUDY, or leave this option out",
                option="seed",
            )
        from pruning_study.commands import verify as verify_command

        lines = verify_command.reference_lines()
    else:
        from pruning_study.commands import verify_study
        from pruning_study.study import processes

        processes.start_server()
        lines = verify_study.compared_lines(study, config)
    for line in lines:
        click.echo(line)


def _named(run_ids: tuple[str, ...]) -> list[str]:
    """Return the ids of the named runs; `mlflow run` passes several in one string, and "" or "auto" for none."""
    return [run_id for text in run_ids for run_id in text.replace(",", " ").split() if run_id != AUTO]


def _begin(config: TrainConfig | TuneConfig | CompressConfig) -> None:
    """Warn of options without an effect, turn on the progress display, and say that imports take time."""
    from pruning_study.options.idle_options import idle_options, moved_rates
    from pruning_study.training import progress

    for line in idle_options(config) + moved_rates(config):
        click.echo(f"Warning: {printable(line)}", err=True)
    progress.begin("importing PyTorch takes a few seconds")


def _as_typed(options: dict[str, Any]) -> dict[str, str]:
    return {name: without_secrets(text(value)) for name, value in options.items()}


def main() -> None:
    """Run the console script `pruning-study`."""
    collect_garbage_rarely()
    escape_unknown_characters()
    interrupt_once()
    masking.install()
    cli(prog_name="pruning-study")


if __name__ == "__main__":
    main()
