"""What both command lines share: how an error that a user can mend is shown."""

from typing import Any

import click

from analysis.runs.errors import StudyError, first_line

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 120}


class Group(click.Group):
    """Turns what a user can mend into one line: exit code 2 where an option is at fault, else 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except StudyError as error:
            if error.option:
                raise click.BadParameter(str(error), ctx, param_hint=error.option) from error
            raise click.ClickException(str(error)) from error
        except OSError as error:
            raise click.ClickException(first_line(error)) from error
