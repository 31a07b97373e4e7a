"""Command line: read options, and print a table, or an error as one line."""

import inspect
import os
from collections import Counter
from collections.abc import Callable, Iterable
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
from analysis.runs import schema
from analysis.runs.schema import text
from pruning_study import __version__
from pruning_study.options import config as configs
from pruning_study.options.record import AUTO, Option, records
from pruning_study.options.table import MAIN_OPTIONS, MOST_SHOWN, OPTIONS, sections
from pruning_study.options.values import boolean, seeds

SECTIONS = sections()
SECTIONS["Files"].insert(0, "key")  # defined at `tally`, not in the options table
# Options that take several values, separated by commas
SEVERAL = {record.name for record in OPTIONS if record.takes_several}
# Commands that continue an interrupted call if they are repeated
CONTINUED = ("train", "prune", "iterate", "study", "tune", "compress", "robustness", "quantize")
# The line of a command's docstring above its examples
_EXAMPLES = "\n\nExamples:\n"


class _Checked(click.ParamType):
    """Option type that checks a value as the option's record does, and keeps it as typed."""

    name = "value"

    def __init__(self, record: Option) -> None:
        self.record = record

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            if not (self.record.is_auto and value == AUTO):
                self.record.typed(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return value


def _option(record: Option) -> click.Option:
    # A flag also takes a value, because `mlflow run -P force=true` passes `--force true`.
    flag: dict[str, Any] = {"is_flag": False, "flag_value": "true"} if record.check is boolean else {}
    return click.Option(
        [option_name(record.name)],
        default=record.default_text,
        show_default=True,
        metavar=record.metavar,
        help=record.help,
        type=_Checked(record) if record.is_auto or not flag else click.BOOL,
        **flag,
    )


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


def _command(config: type, *arguments: click.Argument) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that adds a command to `cli`, with the options of a config.

    The function is called with a config for each seed, the arguments and options as typed, and the arguments. It
    returns the text to print, or yields it. Its docstring is the help, and ends with the examples.
    """

    def decorate(function: Callable[..., str | Iterable[str] | None]) -> Callable[..., Any]:
        def run(**values: Any) -> None:
            given = {str(each.name): values.pop(str(each.name)) for each in arguments}
            several = records(config)[schema.SEED].takes_several if schema.SEED in values else False
            numbers = [{schema.SEED: number} for number in seeds(values[schema.SEED])] if several else [{}]
            of_seeds = [config(**{**values, **number}) for number in numbers]
            if issubclass(config, configs.TrainConfig | configs.TuneConfig | configs.CompressConfig):
                _begin(of_seeds[0])
            said = function(of_seeds, _as_typed({**given, **values}), *given.values())
            for lines in [said] if isinstance(said, str) else said or ():
                click.echo(lines)

        help_, _, examples = inspect.cleandoc(function.__doc__ or "").partition(_EXAMPLES)
        params = [*arguments, *map(_option, records(config).values())]
        typed = [line.strip() for line in examples.splitlines()]
        name = function.__name__
        cli.add_command(_Command(name, callback=run, params=params, help=help_, sections=SECTIONS, examples=typed))
        return function

    return decorate


def _begin(config: Any) -> None:
    """Warn of options without an effect, turn on the progress display, and say that imports take time."""
    from pruning_study.options.idle_options import idle_options
    from pruning_study.training import progress

    for line in idle_options(config):
        click.echo(f"Warning: {printable(line)}", err=True)
    progress.begin("importing PyTorch takes a few seconds")


def _as_typed(options: dict[str, Any]) -> dict[str, str]:
    return {name: without_secrets(text(value)) or AUTO for name, value in options.items()}


def _named(ctx: click.Context, param: click.Parameter, run_ids: tuple[str, ...]) -> tuple[str, ...]:
    """Return the ids of the named runs; `mlflow run` passes several in one string, and "" or "auto" for none."""
    return tuple(run_id for text in run_ids for run_id in text.replace(",", " ").split() if run_id != AUTO)


_RUN_IDS = click.Argument(["run_ids"], nargs=-1, required=False, metavar="[RUN_ID]...", callback=_named)
_PATH = click.Path(path_type=Path)


@_command(configs.TrainConfig)
def train(of_seeds: list[configs.TrainConfig], typed: dict[str, str]) -> Iterable[str]:
    """Train a network, or find the run of an earlier training with the same options.

    Examples:
        pruning-study train
        pruning-study train --dataset cifar10 --model resnet20 --seed 0-4
    """
    from pruning_study.commands import train_and_prune

    return train_and_prune.train_each(of_seeds, typed)


@_command(configs.PruneConfig)
def prune(of_seeds: list[configs.PruneConfig], typed: dict[str, str]) -> Iterable[str]:
    """Prune a network, fine-tune it, and show the loss of each class.

    The network is trained first, unless a run with its options exists. The control, which is the same network
    fine-tuned without pruning, is trained last.

    Examples:
        pruning-study prune --pruner up --ratio 2,10,50
        pruning-study prune --ratio 20 --schedule cubic --class-offsets dense
        pruning-study prune --dataset photos/ --model torchvision:resnet18 --image-size 64 --ratio 4
    """
    from pruning_study.commands import train_and_prune

    return train_and_prune.prune_each(of_seeds, typed, click.echo)


@_command(configs.IterateConfig)
def iterate(of_seeds: list[configs.IterateConfig], typed: dict[str, str]) -> Iterable[str]:
    """Prune a network repeatedly, train it after each pruning, and show accuracy, slopes and weakest class.

    The first iteration, number 0, is the dense network, which is trained unless a run with its options exists.

    Examples:
        pruning-study iterate --pruner l1-unstructured --iterations 5
        pruning-study iterate --dataset mnist --pruner global-unstructured --weight-treatment rewind --seed 0-5
        pruning-study iterate --pruner mp --iterations 21 --weight-treatment rewind --rewind-step 500
    """
    from pruning_study.commands import iterate as iterate_command

    return iterate_command.iterate_each(of_seeds, typed, click.echo)


@_command(configs.StudyConfig, click.Argument(["file"], type=_PATH))
def study(of_seeds: list[configs.StudyConfig], typed: dict[str, str], file: Path) -> str | None:
    """Make the missing runs of a study, on all cores.

    FILE is a YAML file that lists the values of the options, the folder of such a file study.yaml, or the name of an
    included study, such as quick.

    Examples:
        pruning-study study studies/quick.yaml --dry-run
        pruning-study study studies/quick.yaml
    """
    from pruning_study.study import grid

    [config], file = of_seeds, grid.located(file)
    if config.dry_run:
        from pruning_study.study import dry_run

        return dry_run.show(file, config)
    from pruning_study.study import processes

    processes.start_server()
    from pruning_study.study import run as study

    study.run(file, config, typed | _as_typed({"file": file}))
    return None


@_command(configs.TuneConfig)
def tune(of_seeds: list[configs.TuneConfig], typed: dict[str, str]) -> str:
    """Search on validation images for the best --epsilon of undecayed pruning, and test it on test images.

    Examples:
        pruning-study tune --ratio 10 --n-trials 20
        pruning-study tune --objective both --n-trials 40
    """
    from pruning_study.commands import tune as tune_command

    return tune_command.tune(of_seeds[0], typed)


@_command(configs.CompressConfig)
def compress(of_seeds: list[configs.CompressConfig], typed: dict[str, str]) -> str:
    """Search for the smallest or fastest network in which no class loses more than you allow, and write it as ONNX.

    Chains of pruning, fine-tuning, class offsets and number formats are judged on validation images, by upper bounds of
    each class's loss. The chosen chain is tested once on test images. With several seeds, each chain is evaluated on
    the networks of all, and the first network is delivered.

    Examples:
        pruning-study compress --decay cosine --max-class-loss 15 --max-accuracy-loss 5 --n-trials 8
        pruning-study compress --dataset fashion-mnist --decay cosine --minimize latency --budget 30m
        pruning-study compress --dataset photos/ --model timm:resnet18 --image-size 64 --confirm-seeds 3
    """
    from pruning_study.commands import compress as compress_command

    return compress_command.compress(of_seeds, typed).text


@_command(configs.ExemplarsConfig)
def exemplars(of_seeds: list[configs.ExemplarsConfig], typed: dict[str, str]) -> str:
    """Draw the test images that dense and compressed networks classify differently (PIEs), and write a labelling sheet.

    The runs must exist already: dense and compressed networks of at least five seeds. The options select one cell,
    such as one pruner and ratio. The labelling sheet has equal numbers of PIEs and other images, and does not tell
    which is which.

    Examples:
        pruning-study exemplars --study quick --pruner mp --ratio 10
        pruning-study exemplars --frames results/lenet5/frames.zip --dataset fashion-mnist --pruner mp --ratio 10
    """
    from pruning_study.commands.exemplars import command

    return command.write(of_seeds[0])


@cli.command(
    sections=SECTIONS,
    examples=(
        "pruning-study tally labelling_sheet.csv --key labelling_key.csv",
        "pruning-study tally filled/anna.csv filled/ben.csv --key exemplars/labelling_key.csv --output tallied",
    ),
)
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


@_command(configs.GroupsConfig)
def groups(of_seeds: list[configs.GroupsConfig], typed: dict[str, str]) -> str:
    """Write a table of the test images with their groups, such as the writers of QMNIST, and measures of each image.

    Pass the table to `--groups` of pruning-analysis. For other groups, add columns of your own.

    Examples:
        pruning-study groups --dataset qmnist --output qmnist_groups.csv
    """
    from pruning_study.commands import groups as groups_command

    return groups_command.write(of_seeds[0])


@_command(configs.RobustnessConfig, _RUN_IDS)
def robustness(of_seeds: list[configs.RobustnessConfig], typed: dict[str, str], run_ids: tuple[str, ...]) -> str:
    """Count the correct predictions of finished networks on corrupted images, or on a folder of further images.

    RUN_ID is a dense, pruned or quantized run; without one, all such runs of the experiment are measured. The counts
    are added to each run, and the report compares them.

    Examples:
        pruning-study robustness --images 1000 --severities 1,3,5
        pruning-study robustness RUN_ID --folder natural-adversarial/
    """
    from pruning_study.steps import robustness

    return robustness.measure(of_seeds[0], run_ids, typed)


@_command(configs.QuantizeConfig, _RUN_IDS)
def quantize(of_seeds: list[configs.QuantizeConfig], typed: dict[str, str], run_ids: tuple[str, ...]) -> Iterable[str]:
    """Store networks in smaller number formats, and show their losses, sizes and times.

    RUN_ID is a dense or pruned run. Without one, a network is trained with the options, unless a run with these
    options exists.

    Examples:
        pruning-study quantize
        pruning-study quantize RUN_ID --number-format fixed-int8
        pruning-study quantize --all --experiment lenet5-up
    """
    from pruning_study.commands import quantize as quantize_command

    return quantize_command.quantize_each(of_seeds, run_ids, typed)


@_command(configs.ExportConfig, click.Argument(["run_id"]))
def export(of_seeds: list[configs.ExportConfig], typed: dict[str, str], run_id: str) -> str:
    """Write a network as an ONNX file, log it as an MLflow model that can be served, or both.

    RUN_ID is a dense, pruned or quantized run.

    Examples:
        pruning-study export RUN_ID --output model.onnx
        pruning-study export RUN_ID --shrink true --output small.onnx
    """
    from pruning_study.commands import export as export_command

    return export_command.export(of_seeds[0], run_id, typed)


@_command(configs.VerifyConfig, click.Argument(["study"], required=False, type=_PATH))
def verify(of_seeds: list[configs.VerifyConfig], typed: dict[str, str], study: Path | None) -> Iterable[str]:
    """Train networks again, and check that they are the same as on every other machine.

    STUDY is a folder or a file that `pruning-analysis export` wrote. Its networks with the given seed that the native
    engine trained are trained again, and their predictions are compared with those in STUDY; the others are counted.
    Without STUDY, three short trainings are run, in about three minutes on one core, and the digests of the networks
    are compared with those stored in this version. Nothing is logged.

    Examples:
        pruning-study verify
        pruning-study verify results/proportion/frames --seed 300
    """
    [config] = of_seeds
    if study is None or study == Path(AUTO):
        if config.seed is not None:
            raise StudyError(
                "only the networks of a study have seeds to choose from: name a STUDY, or leave this option out",
                option="seed",
            )
        from pruning_study.commands import verify as verify_command

        return verify_command.reference_lines()
    from pruning_study.commands import verify_study
    from pruning_study.study import processes

    processes.start_server()
    return verify_study.compared_lines(study, config)


def main() -> None:
    """Run the console script `pruning-study`."""
    collect_garbage_rarely()
    escape_unknown_characters()
    interrupt_once()
    masking.install()
    cli(prog_name="pruning-study")


if __name__ == "__main__":
    main()
