"""The command line of the analysis: exit codes, one line of error, nothing heavy before it is needed."""

import re
import subprocess
import sys
from pathlib import Path

import click.testing
import pytest
from mlflow import MlflowClient

from analysis.__main__ import cli
from tests.stored_runs import empty_store


def run(*arguments: object) -> click.testing.Result:
    return click.testing.CliRunner().invoke(cli, [str(argument) for argument in arguments])


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blank_picture: None) -> Path:
    """Predictions for 100 shirts and 100 coats: all shirts right; sixty lost; ten lost."""
    monkeypatch.chdir(tmp_path)
    for name, lost in (("before", 0), ("after", 60), ("mild", 10)):
        rows = ["shirt,coat"] * lost + ["shirt,shirt"] * (100 - lost) + ["coat,coat"] * 90 + ["coat,shirt"] * 10
        (tmp_path / f"{name}.csv").write_text("\n".join(["label,predicted", *rows]))
    return tmp_path


@pytest.mark.parametrize(
    ("after", "options", "exit_code"),
    [
        ("after.csv", [], 0),
        ("after.csv", ["--fail-on-damage"], 3),
        ("mild.csv", ["--fail-on-damage"], 3),
        ("before.csv", ["--fail-on-damage"], 0),
    ],
)
def test_damage_fails_only_where_asked(files, after, options, exit_code):
    result = run("audit", "--before", "before.csv", "--after", after, *options)
    assert result.exit_code == exit_code, result.output
    written = {path.name for path in Path("audit").iterdir()}
    assert written == {"audit.csv", "audit.md", "audit.png", "metrics.csv"}


def test_audit_prints_both_answers_and_the_worst_class_first(files):
    lines = run("audit", "--before", "before.csv", "--after", "after.csv", "--output", "elsewhere").output.splitlines()
    assert [line[:3] for line in lines if line[:2] in ("1.", "2.")] == ["1. ", "2. "]
    assert re.search(r"shirt is worse: 100\.0 -> 40\.0 % recall, 60\.0 points", " ".join(lines))
    assert max(map(len, lines[:-1])) <= 80
    (start,) = [place for place, line in enumerate(lines) if line.split()[:3] == ["class", "before", "after"]]
    assert [line.split()[0] for line in lines[start + 1 : start + 3]] == ["shirt", "coat"]
    assert Path("elsewhere/audit.md").is_file()


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (["audit", "--before", "gone.csv", "--after", "after.csv"], 2, "--before: gone.csv"),
        (
            ["audit", "--before", "before.csv", "--after", "gone*.csv"],
            2,
            "--after: gone*.csv",
        ),
        (["audit", "--before", "", "--after", "after.csv"], 2, "--before: "),
        (["audit", "--before", "before.csv"], 2, "Missing option '--after'"),
        (["audit", "--before", "before.csv", "--after", "other.csv"], 1, "error: other.csv: image 1 is labelled coat"),
        (["audit", "--before", "before.csv", "--after", "after.csv", "--output", "before.csv"], 2, "--output: "),
        (["recommend", "--max-accuracy-loss", "one"], 2, "'one' is not a valid float"),
        (["recommend", "--max-accuracy-loss", "101"], 2, "--max-accuracy-loss: 101 is not a limit"),
        (["recommend", "--max-accuracy-loss", "0.02"], 2, "0.02 would be 0.02 points, or 2 points"),
        (["recommend", "--max-accuracy-loss", "nan"], 2, "--max-accuracy-loss: nan"),
        (["recommend", "--max-alpha", "0"], 2, "--max-alpha: 0.0"),
        (["recommend", "--max-alpha", "inf"], 2, "--max-alpha: inf"),
        (["recommend", "--max-class-loss", "-0.1"], 2, "--max-class-loss: -0.1"),
        (["recommend", "--max-class-loss", "nan"], 2, "--max-class-loss: nan"),
        (["recommend", "--min-accuracy", "98"], 2, "--min-accuracy: 98.0"),
        (["recommend", "--fairness-value", "-1"], 2, "--fairness-value: -1.0"),
        (["report", "--fairness-value", "much"], 2, "'much' is not a valid float"),
        (["report", "--frames", "a", "--experiment", "b"], 2, "--experiment"),
        (["report", "--frames", "a", "--ignore-param", "b"], 2, "--ignore-param"),
        (["report", "--frames", "a", "--study", "b"], 2, "--frames takes the place of --study"),
        (["export", "--experiment", "a", "--study", "b"], 2, "--study takes the place of --experiment"),
    ],
)
def test_what_a_user_can_mend_is_one_line(files, arguments, exit_code, message):
    (files / "other.csv").write_text((files / "after.csv").read_text().replace("shirt,", "coat,"))
    result = run(*arguments)
    assert result.exit_code == exit_code
    error, *tip = result.output.splitlines()
    assert error.startswith("error: ")
    assert message in error
    assert len(tip) == (exit_code == 2)


def test_recommend_without_a_store_names_it(files, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///gone.db")
    result = run("recommend")
    assert result.exit_code == 1
    assert result.output.startswith("error: sqlite:///gone.db: no such file")
    assert not Path("gone.db").exists()


@pytest.mark.slow
def test_compare_prints_published_values_beside_ours_or_says_what_print_has(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", empty_store(tmp_path / "store.db"))
    for dataset in ("cifar10", "toy"):
        _log_a_pair(dataset, tmp_path)
    cli(["compare", "--experiment", "cifar10"], standalone_mode=False)
    compared = capsys.readouterr()
    lines = compared.out.splitlines()
    assert lines[0] == "table,row,column,published,ours,ours_unpaired,difference"
    assert "10,CIFAR-10 @ ResNet-20 -> MP,Accuracy,0.896,0.750,,-0.146" in lines
    assert "prune one of these to compare" not in compared.err
    cli(["compare", "--experiment", "toy"], standalone_mode=False)
    nothing = capsys.readouterr()
    assert nothing.out.splitlines() == lines[:1]
    assert "prune one of these to compare" in nothing.err
    assert run("compare", "--variance", "none").exit_code == 2


def _log_a_pair(dataset: str, artifacts: Path) -> None:
    """Log a dense run and a pruned one in an experiment that has the name of the data set."""
    client = MlflowClient()
    experiment = client.create_experiment(dataset, artifact_location=artifacts.as_uri())
    dense = None
    for kind, more in (("dense", {}), ("pruned", {"pruner": "mp", "ratio": 2.0})):
        tags = {"kind": kind} | ({"dense_run_id": dense} if dense else {})
        run_id = client.create_run(experiment, tags=tags).info.run_id
        for name, value in ({"dataset": dataset, "model": "resnet20", "seed": 0} | more).items():
            client.log_param(run_id, name, value)
        for name, value in (("test_accuracy", 0.75), ("recall/0", 1), ("recall/1", 0.5)):
            client.log_metric(run_id, name, value)
        client.set_terminated(run_id)
        dense = run_id


def loaded(*modules: str) -> list[set[str]]:
    """Top-level modules loaded after the import of each of these, one after the other in a process of its own."""
    shown = "print(*{name.partition('.')[0] for name in sys.modules})"
    code = "; ".join(["import sys", *(f"import {module}; {shown}" for module in modules)])
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return [set(line.split()) for line in result.stdout.splitlines()]


@pytest.mark.slow
def test_help_loads_no_numbers_and_audit_neither_server_nor_torch_and_recommend_no_torch():
    of_help, of_audit, of_recommend = loaded(
        "analysis.__main__", "analysis.audit.audit", "analysis.recommend.recommend"
    )
    assert not of_help & {"numpy", "pandas", "scipy", "mlflow", "matplotlib", "torch"}
    assert not of_audit & {"mlflow", "torch", "pruning_study"}
    assert not of_recommend & {"torch", "pruning_study"}


@pytest.mark.slow
def test_a_report_needs_no_torch(tmp_path):
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError('torch')")
    frames = Path(__file__).parents[2] / "results" / "lenet5-up" / "frames.zip"
    command = [sys.executable, "-m", "analysis", "report", "--frames", frames]
    # Python looks for modules in the current folder first.
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report" / "report.html").is_file()


@pytest.mark.parametrize("name", cli.commands)
def test_every_option_has_help_and_says_its_default(name):
    for option in cli.commands[name].params:
        assert option.help.endswith((".", "]"))
        assert option.required or option.show_default or "default" in option.help


def test_help_and_version():
    assert "--fail-on-damage" in run("audit", "-h").output
    assert run("--version").output.startswith("pruning-analysis, version ")


def test_options_that_an_mlproject_leaves_at_auto_are_as_if_not_given(files):
    plain = run("audit", "--before", "before.csv", "--after", "after.csv")
    passed = ["--control", "auto", "--groups", "auto", "--fail-on-damage", "false"]
    assert run("audit", "--before", "before.csv", "--after", "after.csv", *passed).output == plain.output


@pytest.mark.slow
def test_audit_holds_the_losses_against_a_control_and_over_groups(files):
    given = ["audit", "--before", "before.csv", "--after", "after.csv"]
    # A control that lost as much does not excuse a network that would ship.
    rows = (files / "after.csv").read_text().splitlines()
    (files / "retrained.csv").write_text("\n".join([rows[0], *rows[100:0:-1], *rows[101:]]))
    result = run(*given, "--control", "retrained.csv", "--fail-on-damage")
    assert result.exit_code == 3
    assert "lost 60.0 of the 60.0 points" in " ".join(result.output.split())
    result = run(*given, "--control", "before.csv", "--fail-on-damage", "--max-class-loss", "90")
    assert result.exit_code == 3
    assert "shirt is worse" in result.output
    assert "Limit 90 points: KEPT." in result.output
    assert "--fail-on-damage: FAILS (exit code 3). Damaged: shirt." in result.output
    beyond = run(*given, "--max-class-loss", "9", "--max-accuracy-loss", "9")
    assert (beyond.exit_code, beyond.output.count("FAILS (exit code 3)")) == (3, 2)
    assert run(*given, "--max-class-loss", "90").exit_code == 0
    (files / "groups.csv").write_text(
        "index,side\n" + "\n".join(f"{image},{'odd' if image % 2 else 'even'}" for image in range(200))
    )
    result = run(*given, "--groups", "groups.csv")
    assert {"odd", "even"} <= set(result.output.split())
    (files / "groups.csv").write_text("index,side\n200,left")
    result = run(*given, "--groups", "groups.csv")
    assert result.exit_code == 1
    assert result.output == "error: groups.csv, line 2: index '200' is no image of the predictions\n"


def test_an_audit_of_groups_says_their_slopes_and_writes_a_row_for_each_grouping(files):
    (files / "groups.csv").write_text("sex\n" + 5 * (10 * "women\n" + 10 * "men\n") + 100 * "men\n")
    result = run("audit", "--before", "before.csv", "--after", "mild.csv", "--groups", "groups.csv")
    assert result.exit_code == 0, result.output
    # The first ten of 50 images of women are lost: 20 points, and 5 of all images.
    assert "By sex, 2 groups of 50 to 150 images: alpha is" in result.output
    assert "Chance movement: the hardest-hit group loses 15.0 points more than the accuracy" in result.output
    assert len((files / "audit" / "groupings.csv").read_text().splitlines()) == 2


@pytest.mark.parametrize("table", ["sex\nmen\n", "measure:age\n" + 200 * "30\n", ""])
def test_a_table_that_is_none_of_groups_is_an_error_of_one_line(files, table):
    (files / "groups.csv").write_text(table)
    result = run("audit", "--before", "before.csv", "--after", "after.csv", "--groups", "groups.csv")
    assert result.exit_code != 0
    assert result.output.startswith("error: groups.csv: ")
    assert result.output.count("\n") == 1


@pytest.mark.attack
def test_an_audit_over_its_predictions__is_refused_and_they_stay(files):
    Path("audit.csv").write_bytes(Path("after.csv").read_bytes())
    Path("link").symlink_to(".")
    before = {path.name: path.read_bytes() for path in files.glob("*.csv")}
    for sources, output in ((("*.csv",), "."), (("audit.csv",), "link"), ((".",), "."), ((".",), "link/new")):
        result = run("audit", "--before", "before.csv", "--after", *sources, "--output", output)
        assert result.exit_code == 2
        assert "--output: predictions are read from " in result.output
    assert {path.name: path.read_bytes() for path in files.glob("*.csv")} == before
    assert not Path("audit.md").exists()


@pytest.mark.attack
def test_groups_that_a_command_would_overwrite__are_refused_before_any_work(files):
    for command, name in (("report", "groups.csv"), ("recommend", "groups.csv"), ("audit", "audit.csv")):
        Path(name).write_text("writer\nanna\n", encoding="utf-8")
        sources = ("--before", "before.csv", "--after", "after.csv") if command == "audit" else ()
        result = run(command, *sources, "--groups", Path(name).absolute(), "--output", ".")
        assert result.exit_code == 2
        assert f"--output: groups are read from {name}" in result.output


@pytest.mark.attack
def test_a_report_in_the_folder_that_it_reads__is_refused(files):
    result = run("report", "--frames", ".", "--output", "new")
    assert result.exit_code == 2
    assert "--output: runs are read from new" in result.output
