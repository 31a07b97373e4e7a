"""The help: every option stands in one section, and every example can be typed."""

import shlex

import click.testing
import pytest

from analysis.__main__ import cli as analysis
from pruning_study.__main__ import cli
from pruning_study.option_sections import EXAMPLES, SECTIONS

PROGRAMS = {"pruning-study": cli, "pruning-analysis": analysis}


@pytest.mark.parametrize("name", ["train", "prune", "study", "tune"])
def test_every_option_stands_in_one_section(name, run_command):
    placed = [option for options in SECTIONS.values() for option in options]
    assert len(placed) == len(set(placed))
    options = {param.name for param in cli.commands[name].params if isinstance(param, click.Option)}
    assert options <= set(placed)
    lines = run_command(name, "--help").output.splitlines()
    for option in options:
        assert sum(line.startswith(f"  --{option.replace('_', '-')} ") for line in lines) == 1
    headings = [line.removesuffix(":") for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert headings == [*(key for key, names in SECTIONS.items() if options & set(names)), "Help", "Examples"]


def test_no_section_has_an_option_that_no_command_has():
    known = {param.name for command in cli.commands.values() for param in command.params}
    assert {option for options in SECTIONS.values() for option in options} <= known


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_command_has_examples_that_can_be_typed(program):
    for name, command in PROGRAMS[program].commands.items():
        assert command.examples
        for example in command.examples:
            first, second, *arguments = shlex.split(example)
            assert (first, second) == (program, name)
            command.make_context(name, arguments, parent=PROGRAMS[program].make_context(program, [name]))
            assert f"\n  {example}\n" in click.testing.CliRunner().invoke(PROGRAMS[program], [name, "--help"]).output
    assert set(EXAMPLES) == set(cli.commands)


@pytest.mark.parametrize(
    ("program", "typed", "found"), [("pruning-study", "pr", "prune"), ("pruning-analysis", "recomm", "recommend")]
)
def test_the_shell_completion_that_the_help_names_works(program, typed, found):
    group, variable = PROGRAMS[program], f"_{program.replace('-', '_').upper()}_COMPLETE"
    assert f'eval "$({variable}=bash_source' in click.testing.CliRunner().invoke(group, ["--help"]).output
    environment = {variable: "bash_complete", "COMP_WORDS": f"{program} {typed}", "COMP_CWORD": "1"}
    result = click.testing.CliRunner().invoke(group, prog_name=program, env=environment)
    assert result.output == f"plain,{found}\n"
