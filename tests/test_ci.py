"""What CI runs: which changed paths ask for which stages of `.ci/run`."""

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CHANGED = runpy.run_path(str(ROOT / ".ci" / "changed"))


def stages(*paths, new_imports=False):
    return CHANGED["stages"](paths, new_imports=new_imports, day=0)


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("README.md", set()),
        ("analysis/statistics/limits.py", set()),
        ("pruning_study/training/native/loops.hpp", {"native"}),
        ("pruning_study/training/engines.py", {"native"}),
        ("tests/pruning_study/training/native/test_engine.py", {"native"}),
        ("pyproject.toml", {"lowest"}),
        ("constraints.txt", {"lowest"}),
    ],
)
def test_the_engine_and_the_versions_are_tested_where_they_may_change(path, asked):
    assert stages(path).keys() == {"slow", "rebuild"} | asked


def test_a_new_import_asks_for_the_lowest_versions():
    assert "lowest" in stages("analysis/statistics/limits.py", new_imports=True)


@pytest.mark.parametrize(
    ("path", "run", "left_out"),
    [
        ("analysis/study/cells.py", {"analysis/study", "analysis/report"}, {"analysis/runs", "pruning_study/steps"}),
        ("analysis/runs/schema.py", {"analysis/report", "pruning_study/data"}, {"analysis/common"}),
        ("pruning_study/steps/plan.py", {"pruning_study/commands"}, {"pruning_study/training", "analysis/runs"}),
        ("tests/analysis/runs/test_pull.py", {"analysis/runs"}, {"analysis/report", "pruning_study/data"}),
        ("tests/conftest.py", {"analysis/common", "pruning_study/data"}, set()),
    ],
)
def test_slow_tests_run_of_the_changed_folder_and_of_those_that_import_it(path, run, left_out):
    ignored = {argument.removeprefix("--ignore=tests/") for argument in stages(path)["slow"]}
    assert left_out <= ignored
    assert not run & ignored


def test_numbers_are_rebuilt_of_changed_studies_or_of_one_a_day_and_all_after_a_change_of_the_analysis():
    assert stages("results/decay/study.yaml", "README.md")["rebuild"] == ["results/decay"]
    days = [CHANGED["stages"](["README.md"], new_imports=False, day=day)["rebuild"] for day in range(2)]
    assert [len(day) for day in days] == [1, 1]
    assert days[0] != days[1]
    for path in ("analysis/study/cells.py", "results/rebuild.py", "constraints.txt"):
        assert stages(path)["rebuild"] == []


def test_changes_are_those_since_a_commit():
    assert CHANGED["stages_since"]("HEAD").keys() == {"slow", "rebuild"}


def test_a_commit_that_is_no_ancestor_asks_for_every_stage():
    everything = {"slow": [], "rebuild": [], "native": [], "lowest": []}
    assert CHANGED["stages_since"]("0" * 40) == everything
