"""Errors name the option at fault by its field, and the command line writes it as it is typed."""

import ast
from pathlib import Path

import click
import pytest

import analysis.__main__
import pruning_study.__main__
from analysis.common.command_line import CommandGroup
from analysis.common.errors import StudyError, option_name

ROOT = Path(__file__).parents[1]
SOURCES = [path for package in ("analysis", "pruning_study") for path in sorted((ROOT / package).rglob("*.py"))]


def named(source):
    """Yield the texts that a source gives as `option` of an error, or calls `OPTION`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.keyword) and node.arg == "option" and isinstance(node.value, ast.Constant):
            yield node.value.value
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            yield from (node.value.value for target in node.targets if getattr(target, "id", "") == "OPTION")


@pytest.mark.slow
def test_each_is_an_option_of_a_command():
    commands = [*analysis.__main__.cli.commands.values(), *pruning_study.__main__.cli.commands.values()]
    typed = {name for command in commands for param in command.params for name in param.opts}
    texts = {text for path in SOURCES for text in named(path.read_text()) if text}
    assert len(texts) > 50
    assert {text for text in texts if option_name(text) not in typed} == {"FILE", "STUDY", "confidence"}


@pytest.mark.parametrize(("option", "typed"), [("fine_tune_epochs", "--fine-tune-epochs"), ("FILE", "FILE")])
def test_the_command_line_writes_it_as_it_is_typed(run_click, option, typed):
    @click.group(cls=CommandGroup)
    def program():
        pass

    @program.command()
    def fail():
        raise StudyError("0 is too few", option=option)

    assert f"error: {typed}: 0 is too few" in run_click(program, "fail")


@pytest.fixture
def run_click():
    from click.testing import CliRunner

    return lambda program, *arguments: CliRunner().invoke(program, arguments).output
