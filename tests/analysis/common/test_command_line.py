"""Help and errors of both command lines."""

import os
import re

import click
import pytest
from click.testing import CliRunner
from wcwidth import wcswidth

import analysis.__main__
import pruning_study.__main__
from analysis.common.command_line import COMMANDS, CommandGroup, as_typed
from analysis.common.errors import StudyError

PROGRAMS = {"pruning-study": pruning_study.__main__.cli, "pruning-analysis": analysis.__main__.cli}


def run(program, *arguments):
    return CliRunner().invoke(PROGRAMS[program], arguments, prog_name=program)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_lists_its_commands_with_whole_summaries(program):
    assert tuple(PROGRAMS[program].commands) == COMMANDS[program]
    shown = run(program, "-h").output
    (listed,) = re.findall(r"Commands:\n(.*?)\n\n", shown, re.DOTALL)
    assert "..." not in listed
    assert max(map(wcswidth, listed.splitlines())) <= 80


@pytest.mark.parametrize(
    ("program", "arguments", "error", "tip"),
    [
        ("pruning-study", ["report"], "No such command 'report'", "did you mean pruning-analysis report?"),
        ("pruning-analysis", ["prune"], "No such command 'prune'", "did you mean pruning-study prune?"),
        (
            "pruning-study",
            ["prune", "--pruner", "magnitude"],
            "--pruner: 'magnitude' is not a pruner",
            "did you mean mp (magnitude pruning)?",
        ),
        (
            "pruning-study",
            ["prune", "--ratio", "0.5"],
            "--ratio: 0.5 must be at least 1",
            "pruning-study prune -h shows the options",
        ),
        ("pruning-study", ["prune", "--device", "cud"], "--device: 'cud' is not known", "did you mean cuda?"),
    ],
)
def test_an_error_is_a_line_and_a_tip_another(program, arguments, error, tip):
    result = run(program, *arguments)
    assert result.exit_code == 2
    assert result.output == f"error: {error}\ntip: {tip}\n"


def test_the_short_help_of_prune_has_its_main_options_in_the_order_of_use_with_types_and_choices():
    shown = run("pruning-study", "prune", "-h").output
    names = re.findall(r"^  (--[a-z-]+) ", shown, re.MULTILINE)
    assert 12 <= len(names) <= 17
    assert names[:2] == ["--dataset", "--model"]
    assert names.index("--epochs") < names.index("--pruner") < names.index("--fine-tune-epochs")
    assert "--ratio FLOAT,..." in shown
    assert "--epochs INT " in shown
    assert "--control [make|none] " in shown
    whole = run("pruning-study", "prune", "--help").output
    assert "--gradient-batches" in whole
    assert "--gradient-batches" not in shown


def test_the_limit_that_another_option_refers_to_stands_before_it():
    shown = run("pruning-analysis", "audit", "-h").output
    assert shown.index("--max-class-loss POINTS") < shown.index("--max-accuracy-loss POINTS")


def interrupted(monkeypatch, name):
    @click.group(cls=type(PROGRAMS["pruning-study"]))
    def program():
        pass

    @program.command(name)
    def command():
        raise KeyboardInterrupt

    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    return CliRunner().invoke(program, [name])


def test_after_ctrl_c_the_same_command_is_said_to_go_on_if_it_does(monkeypatch):
    said = "interrupted: repeat the command to make the missing runs"
    assert said in interrupted(monkeypatch, "prune").output
    assert said not in interrupted(monkeypatch, "groups").output


@pytest.mark.parametrize(
    ("job_run_id", "shown"), [(None, "--seed 0-4 and --force"), ("0" * 32, "-P seed=0-4 and -P force=true")]
)
def test_an_option_is_named_as_the_call_takes_it(monkeypatch, job_run_id, shown):
    @click.group(cls=CommandGroup)
    def program():
        pass

    @program.command()
    def command():
        os.environ.pop("MLFLOW_RUN_ID", None)  # as after the first of several seeds
        click.echo(f"{as_typed('seed', '0-4')} and {as_typed('force')}")

    monkeypatch.setenv("MLFLOW_RUN_ID", job_run_id or "")
    assert CliRunner().invoke(program, ["command"]).output == f"{shown}\n"


@pytest.mark.attack
def test_a_line_end_in_what_was_typed__makes_no_line_of_its_own():
    result = run("pruning-study", "prune", "--model", "a\nerror: all is well")
    assert "\nerror: all is well" not in result.output
    assert run("pruning-study", "a\nerror: b").output.count("\n") == 1 + ("tip" in run("pruning-study", "a\nb").output)


def test_several_faults_are_lines_below_the_first():
    @click.group(cls=CommandGroup)
    def program():
        pass

    @program.command()
    def fail():
        raise StudyError("two faults", "first", "second")

    assert CliRunner().invoke(program, ["fail"]).output == "error: two faults\n  first\n  second\n"
