"""Hook of mkdocs: a page for each command, made from the options that its `--help` shows."""

import html
import inspect

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from analysis.__main__ import cli as analysis
from analysis.common.command_line import Command
from pruning_study.__main__ import cli as study

PROGRAMS = {"pruning-study": study, "pruning-analysis": analysis}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add a page for each command to the navigation, in the section Reference, by program."""
    assert config.nav is not None
    listed = [
        {program: [{name: _path(program, name)} for name in group.commands]} for program, group in PROGRAMS.items()
    ]
    (reference,) = (entry["Reference"] for entry in config.nav if "Reference" in entry)
    reference[:0] = listed
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each command to the files of the site."""
    for program, group in PROGRAMS.items():
        for name, command in group.commands.items():
            assert isinstance(command, Command)
            files.append(File.generated(config, _path(program, name), content=page(program, name, command)))
    return files


def _path(program: str, name: str) -> str:
    return f"docs/reference/{program}/{name}.md"


def page(program: str, name: str, command: Command) -> str:
    """Return the page of a command in Markdown: its help, its options by section, and its examples."""
    context = click.Context(command, info_name=f"{program} {name}", max_content_width=10_000, terminal_width=10_000)
    usage = command.get_usage(context).removeprefix("Usage: ")
    parts = [
        f"# {program} {name}",
        f"```console\n{usage}\n```",
        html.escape(inspect.cleandoc(command.help or ""), quote=False),
    ]
    for heading, records in command.option_sections(context):
        parts += [f"## {heading}", "\n".join(["| option | meaning |", "| --- | --- |", *map(_row, records)])]
    if command.examples:
        parts += ["## Examples", "\n".join(["```console", *command.examples, "```"])]
    return "\n\n".join(parts) + "\n"


def _row(record: tuple[str, str]) -> str:
    option, text = (html.escape(" ".join(part.split()), quote=False).replace("|", "&#124;") for part in record)
    return f"| <code>{option}</code> | {text} |"
