"""The help: every option stands in one section, and every example can be typed."""

import shlex
from pathlib import Path

import click.testing
import pytest

from analysis import __main__ as analysis
from pruning_study.__main__ import SECTIONS, cli

ROOT = Path(__file__).parents[3]
PROGRAMS = {"pruning-study": cli, "pruning-analysis": analysis.cli}
ALL_SECTIONS = {"pruning-study": SECTIONS, "pruning-analysis": analysis.SECTIONS}


COMMANDS = [(program, name) for program, group in PROGRAMS.items() for name in group.commands]


@pytest.mark.parametrize(("program", "name"), COMMANDS)
def test_every_option_stands_in_one_section(program, name):
    sections, command = ALL_SECTIONS[program], PROGRAMS[program].commands[name]
    placed = [option for options in sections.values() for option in options]
    assert len(placed) == len(set(placed))
    options = {param.name: param.opts[0] for param in command.params if isinstance(param, click.Option)}
    assert set(options) <= set(placed)
    lines = help_of(program, name).splitlines()
    for option in options.values():
        assert sum(line.startswith(f"  {option} ") for line in lines) == 1
    headings = [line.removesuffix(":") for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert headings == [*(key for key, names in sections.items() if options.keys() & set(names)), "Help", "Examples"]


@pytest.mark.parametrize("program", PROGRAMS)
def test_no_section_has_an_option_that_no_command_has(program):
    known = {param.name for command in PROGRAMS[program].commands.values() for param in command.params}
    assert {option for options in ALL_SECTIONS[program].values() for option in options} <= known


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_help_of_a_program_ends_with_an_example_of_each_command_and_with_shell_completion(program):
    _, end = help_of(program).split("\nExamples:\n")
    examples, completion = end.split("\n\n", maxsplit=1)
    named = [example.split()[:2] for example in examples.splitlines()]
    assert named == [[program, name] for name in PROGRAMS[program].commands]
    assert completion.strip().startswith("Shell completion")


def help_of(program, *name):
    return click.testing.CliRunner().invoke(PROGRAMS[program], [*name, "--help"]).output


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_command_has_examples_that_can_be_typed(program):
    for name, command in PROGRAMS[program].commands.items():
        assert command.examples
        for example in command.examples:
            first, second, *arguments = shlex.split(example)
            assert (first, second) == (program, name)
            command.make_context(name, arguments, parent=PROGRAMS[program].make_context(program, [name]))
            assert f"\n  {example}\n" in help_of(program, name)
            assert all((ROOT / path).exists() for path in arguments if path.startswith("results/"))


@pytest.mark.parametrize(
    ("program", "typed", "found"), [("pruning-study", "pr", "prune"), ("pruning-analysis", "recomm", "recommend")]
)
def test_the_shell_completion_that_the_help_names_works(program, typed, found):
    group, variable = PROGRAMS[program], f"_{program.replace('-', '_').upper()}_COMPLETE"
    assert f'eval "$({variable}=bash_source' in help_of(program)
    environment = {variable: "bash_complete", "COMP_WORDS": f"{program} {typed}", "COMP_CWORD": "1"}
    result = click.testing.CliRunner().invoke(group, prog_name=program, env=environment)
    assert result.output == f"plain,{found}\n"
