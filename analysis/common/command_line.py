"""Define the help, errors and click settings that both command lines share."""

import copy
import gc
import io
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from analysis.common.errors import StudyError, first_line, option_name
from analysis.common.imports import pip_line
from analysis.common.masking import without_secrets
from analysis.common.printable import printable

SETTINGS: dict[str, Any] = {
    "help_option_names": ["-h", "--help"],
    "max_content_width": 120,
    # `mlflow run -P fine_tune_epochs=1` calls a command with `--fine_tune_epochs 1`.
    "token_normalize_func": lambda name: name.replace("_", "-"),
}
# Commands by program, so that each program can point to the other's commands
COMMANDS = {
    "pruning-study": (
        *("train", "prune", "iterate", "study", "tune", "compress", "exemplars", "tally", "groups", "robustness"),
        *("quantize", "export", "verify"),
    ),
    "pruning-analysis": ("audit", "power", "offsets", "recommend", "export", "report", "compare"),
}
_PROJECT = "is called by `mlflow run`"
_DID_YOU_MEAN = re.compile(r"[:,.]? *(did you mean .+\?)$", re.IGNORECASE)


def completion(program: str) -> str:
    """Return the explanation of shell completion that ends a program's help."""
    variable = f"_{program.replace('-', '_').upper()}_COMPLETE"
    return (
        f'Shell completion: put eval "$({variable}=bash_source {program})" into ~/.bashrc. For zsh or fish, '
        "write zsh_source or fish_source instead, and put it into that shell's own file."
    )


def as_typed(option: str, value: str | None = None) -> str:
    """Return an option as the user would type it: `--seed 0-4`, or `-P seed=0-4` under `mlflow run`.

    Parameters
    ----------
    option : str
        Field name of the option, such as `batch_size`.
    value : str, optional
        Value of the option; None for a flag.
    """
    context = click.get_current_context(silent=True)
    if context and context.meta.get(_PROJECT):
        return f"-P {option}={value or 'true'}"
    return f"{option_name(option)} {value}" if value else option_name(option)


class Command(click.Command):
    """A command whose help shows the options in sections, followed by examples.

    Parameters
    ----------
    sections : mapping of str to sequence of str
        Section headings, each with the names of its options. Other options are shown below the last section.
    examples : sequence of str
        Command lines.
    main_options : sequence of str
        Names of the options that `-h` shows, in their order. If there are none, `-h` shows all options, as `--help`
        does.
    """

    def __init__(
        self,
        *arguments: Any,
        sections: Mapping[str, Sequence[str]] | None = None,
        examples: Sequence[str] = (),
        main_options: Sequence[str] = (),
        **settings: Any,
    ) -> None:
        super().__init__(*arguments, **settings)
        self.sections, self.examples, self.main_options = sections or {}, examples, main_options

    def get_help_option_names(self, ctx: click.Context) -> list[str]:
        """Return the option names that show the whole help, without `-h` if it shows the main options only."""
        return [name for name in super().get_help_option_names(ctx) if not (self.main_options and name == "-h")]

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the parameters, with the option `-h` if it shows the main options only."""
        params = super().get_params(ctx)
        return [*params, self._short_help_option()] if self.main_options else params

    def _short_help_option(self) -> click.Option:
        def show(ctx: click.Context, param: click.Parameter, value: bool) -> None:
            if value and not ctx.resilient_parsing:
                click.echo(self._short_help(ctx))
                ctx.exit()

        return click.Option(
            ["-h"], is_flag=True, is_eager=True, expose_value=False, callback=show, help="Show the main options."
        )

    def _short_help(self, ctx: click.Context) -> str:
        """Return usage, summary, the first sentence on each main option, and the examples."""
        formatter = ctx.make_formatter()
        self.format_usage(ctx, formatter)
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(_summary(self))
        options = {option.name: option for option in self.params if isinstance(option, click.Option)}
        with formatter.section("Main options"):
            formatter.write_dl([_in_short(options[name], ctx) for name in self.main_options if name in options])
        formatter.write_paragraph()
        formatter.write_text(f"{ctx.command_path} --help shows all {len(options)} options in full.")
        _write_examples(formatter, self.examples)
        return formatter.getvalue().rstrip("\n")

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments, as if options whose value is `auto` were not given."""
        return super().parse_args(ctx, without_auto(args))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options under the headings of their sections."""
        for heading, records in self.option_sections(ctx):
            with formatter.section(heading):
                formatter.write_dl(records)

    def option_sections(self, ctx: click.Context) -> Iterator[tuple[str, list[tuple[str, str]]]]:
        """Yield the heading of each section, and its options with their help."""
        options = [param for param in self.get_params(ctx) if isinstance(param, click.Option)]
        remaining = {option.name: record for option in options if (record := option.get_help_record(ctx))}
        for heading, names in self.sections.items():
            if records := [remaining.pop(name) for name in names if name in remaining]:
                yield heading, records
        yield "Options" if len(remaining) > 1 + bool(self.main_options) else "Help", list(remaining.values())

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples below the help."""
        super().format_epilog(ctx, formatter)
        _write_examples(formatter, self.examples)


def _summary(command: click.Command) -> str:
    """Return the first paragraph of a command's help."""
    return " ".join((command.help or "").split("\n\n")[0].split())


def _in_short(option: click.Option, ctx: click.Context) -> tuple[str, str]:
    """Return an option with the first sentence of its help and its default."""
    option = copy.copy(option)
    first, end, _ = (option.help or "").partition(". ")
    option.help = first + end.strip()
    return option.get_help_record(ctx) or ("", "")


def without_auto(args: Sequence[str]) -> list[str]:
    """Remove options whose value is `auto`, which meant *not given* in version 0.1.

    Examples
    --------
    >>> without_auto(["auto", "--epochs", "auto", "--seed", "3", "--decay=auto"])
    ['auto', '--seed', '3']
    """
    kept: list[str] = []
    for arg in args:
        if arg == "auto" and kept and kept[-1].startswith("--"):
            kept.pop()
        elif not (arg.startswith("--") and arg.endswith("=auto")):
            kept.append(arg)
    return kept


def _write_examples(formatter: click.HelpFormatter, examples: Sequence[str]) -> None:
    """Write each example on a line of its own, without wrapping."""
    if examples:
        with formatter.section("Examples"):
            for example in examples:
                formatter.write(f"{'':{formatter.current_indent}}{example}\n")


class CommandGroup(click.Group):
    """Group of commands. It turns errors into a `_MendableError`, with exit code 2 if an option is wrong, else 1."""

    command_class = Command

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the first example of each command below the help."""
        _write_examples(
            formatter, [command.examples[0] for command in self.commands.values() if isinstance(command, Command)]
        )
        super().format_epilog(ctx, formatter)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands with their whole summaries, in the order in which they are declared."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, _summary(command)) for name, command in self.commands.items()])

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Return a command. If it belongs to the other program, raise an error that names that program."""
        for program, names in COMMANDS.items():
            if args[0] in names and args[0] not in self.commands:
                raise click.UsageError(f"No such command '{args[0]}'. Did you mean {program} {args[0]}?", ctx)
        return super().resolve_command(ctx, args)

    def make_context(self, *arguments: Any, **settings: Any) -> click.Context:
        try:
            return super().make_context(*arguments, **settings)
        except click.UsageError as error:
            if type(error).__name__ == "NoArgsIsHelpError":  # this error only shows the help
                raise
            raise _MendableError.of(error) from error

    def invoke(self, ctx: click.Context) -> Any:
        # MLFLOW_RUN_ID is read now, because the first of several jobs unsets it.
        ctx.meta[_PROJECT] = bool(os.environ.get("MLFLOW_RUN_ID"))
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            raise _MendableError.of(error) from error
        except StudyError as error:
            if not error.option:
                raise _MendableError(str(error)) from error
            typed = error.option if error.option.isupper() else option_name(error.option)
            raise _MendableError(str(error), typed, f"{ctx.command_path} {ctx.invoked_subcommand}") from error
        except ModuleNotFoundError as error:
            raise _MendableError(f"{error.name} is not installed: {pip_line('train')}") from error
        except BrokenPipeError:  # the reader of the output, such as `head`, has closed it: click ends the program
            raise
        except OSError as error:
            raise _MendableError(first_line(error)) from error


class _MendableError(click.ClickException):
    """An error shown as a line that begins with `error:`, and perhaps a second that begins with `tip:`.

    Parameters
    ----------
    message : str
    typed : str
        The option or argument at fault.
    usage : str, optional
        The command that was used wrongly. If it is given, the exit code is 2.
    """

    def __init__(self, message: str, typed: str = "", usage: str | None = None) -> None:
        lines = (f"{typed}: {message}" if typed else message).split("\n")
        text = "\n".join(printable(without_secrets(line)) for line in lines)  # the message may quote what was typed
        hint = None if "\n" in text else _DID_YOU_MEAN.search(text)
        super().__init__(text[: hint.start()] if hint else text)
        help_line = f"{usage} -h shows the options" if usage else ""
        self.suggestion = hint[1][0].lower() + hint[1][1:] if hint else ""
        self.tip = self.suggestion or help_line
        self.exit_code = 1 if usage is None else 2  # type: ignore[misc]

    @classmethod
    def of(cls, error: click.ClickException) -> "click.ClickException":
        """Convert a click error."""
        if isinstance(error, _MendableError):
            return error
        if not isinstance(error, click.UsageError):
            return cls(printable(error.message))
        message = printable(without_secrets(error.format_message()))  # on one line
        if isinstance(error, click.BadParameter):
            message = re.sub(r"^Invalid value for '?(.+?)'?: ", r"\1: ", message, count=1)
        return cls(message, usage=error.ctx.command_path if error.ctx else "")

    def format_message(self) -> str:
        """Return the message and what the user may have meant, in one line."""
        return f"{self.message} ({self.suggestion})" if self.suggestion else self.message

    def show(self, file: Any = None) -> None:
        """Print the error, by default to stderr."""
        click.echo(f"error: {self.message}", file=file, err=file is None)
        if self.tip:
            click.echo(f"tip: {self.tip}", file=file, err=file is None)


def escape_unknown_characters() -> None:
    """Print an escape for each character that the locale's encoding lacks, instead of raising an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def collect_garbage_rarely() -> None:
    """Make Python collect garbage less often, because by default this takes a twentieth of a command's time.

    Imports, frames, figures and networks make many objects, few of which become garbage.
    """
    gc.set_threshold(50_000)
