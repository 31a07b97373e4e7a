"""Click settings of both command lines, and how they show errors that a user can mend."""

from typing import Any

import click

from analysis.runs.errors import StudyError, first_line
from analysis.runs.masking import without_secrets
from analysis.runs.printable import printable

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 120}


class CommandGroup(click.Group):
    """Group of commands that shows an error in one line: exit code 2 if an option is at fault, else 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            text = printable(without_secrets(error.message))  # it may quote what was typed
            error.message = text  # type: ignore[misc]
            raise
        except StudyError as error:
            if error.option:
                raise click.BadParameter(str(error), ctx, param_hint=error.option) from error
            raise click.ClickException(str(error)) from error
        except ModuleNotFoundError as error:
            raise click.ClickException(f"{error.name} is not installed: pip install 'pruning-study[train]'") from error
        except OSError as error:
            raise click.ClickException(first_line(error)) from error
