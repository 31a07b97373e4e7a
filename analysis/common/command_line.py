"""Click settings of both command lines, and how they show errors that a user can mend."""

import gc
import io
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from analysis.common.errors import StudyError, first_line, option_name
from analysis.common.extras import pip_line
from analysis.common.masking import without_secrets
from analysis.common.printable import printable

SETTINGS: dict[str, Any] = {
    "help_option_names": ["-h", "--help"],
    "max_content_width": 120,
    # `mlflow run -P fine_tune_epochs=1` calls a command with `--fine_tune_epochs 1`.
    "token_normalize_func": lambda name: name.replace("_", "-"),
}


def completion(program: str) -> str:
    """Return a sentence on shell completion, for the end of a program's help."""
    variable = f"_{program.replace('-', '_').upper()}_COMPLETE"
    return (
        f'Shell completion: put eval "$({variable}=bash_source {program})" into ~/.bashrc; zsh and fish have '
        "zsh_source and fish_source."
    )


class Command(click.Command):
    """A command whose help shows the options in sections, and then examples.

    Parameters
    ----------
    sections : mapping of str to sequence of str
        Names of options by the heading of their section. Other options are shown below the last section.
    examples : sequence of str
        Command lines.
    """

    def __init__(
        self,
        *arguments: Any,
        sections: Mapping[str, Sequence[str]] | None = None,
        examples: Sequence[str] = (),
        **settings: Any,
    ) -> None:
        super().__init__(*arguments, **settings)
        self.sections, self.examples = sections or {}, examples

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments; an option whose value is `auto` is not given."""
        return super().parse_args(ctx, without_auto(args))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options below the headings of their sections."""
        options = [param for param in self.get_params(ctx) if isinstance(param, click.Option)]
        remaining = {option.name: record for option in options if (record := option.get_help_record(ctx))}
        for heading, names in self.sections.items():
            if records := [remaining.pop(name) for name in names if name in remaining]:
                with formatter.section(heading):
                    formatter.write_dl(records)
        with formatter.section("Options" if len(remaining) > 1 else "Help"):
            formatter.write_dl(list(remaining.values()))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples below the help."""
        super().format_epilog(ctx, formatter)
        _write_examples(formatter, self.examples)


def without_auto(args: Sequence[str]) -> list[str]:
    """Return arguments without the options that are `auto`, which stood for *not given* in calls of version 0.1.

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
    """Write each example in a line of its own, however long it is."""
    if examples:
        with formatter.section("Examples"):
            for example in examples:
                formatter.write(f"{'':{formatter.current_indent}}{example}\n")


class CommandGroup(click.Group):
    """Group of commands that shows an error in one line: exit code 2 if an option is at fault, else 1."""

    command_class = Command

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the first example of each command below the help."""
        _write_examples(
            formatter, [command.examples[0] for command in self.commands.values() if isinstance(command, Command)]
        )
        super().format_epilog(ctx, formatter)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            text = printable(without_secrets(error.message))  # it may quote what was typed
            error.message = text  # type: ignore[misc]
            raise
        except StudyError as error:
            if error.option:
                typed = error.option if error.option.isupper() else option_name(error.option)
                raise click.BadParameter(str(error), ctx, param_hint=typed) from error
            raise click.ClickException(str(error)) from error
        except ModuleNotFoundError as error:
            raise click.ClickException(f"{error.name} is not installed: {pip_line('train')}") from error
        except BrokenPipeError:  # whoever reads the output has read enough, as `head` does: click ends the program
            raise
        except OSError as error:
            raise click.ClickException(first_line(error)) from error


def escape_unknown_characters() -> None:
    """Print an escape in place of a character that the locale's encoding lacks, rather than end in a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def collect_garbage_rarely() -> None:
    """Have Python look for garbage less often, which takes a twentieth of a command's time.

    Few of the many objects that imports, frames, figures and networks make are garbage.
    """
    gc.set_threshold(50_000)
