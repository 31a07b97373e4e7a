"""What stands in results/ is what its frames give."""

import shutil
from pathlib import Path

import front_page
import numpy as np
import pandas as pd
import pytest
import rebuild
from click.testing import CliRunner
from pandas.testing import assert_frame_equal

from analysis.common.errors import StudyError
from tests import made_up_runs
from tests.blank_figures import leave_undrawn

pytestmark = pytest.mark.slow


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def differences(study, made):
    """Tables and pictures of a study's folder that are not those made of its frames."""
    for path in sorted([*study.glob("figures/*"), *study.glob("*.csv")]):
        again = made / path.relative_to(study)
        if not (same_table(path, again) if path.suffix == ".csv" else again.is_file()):
            yield str(path.relative_to(study))


def same_table(one, other):
    if one.is_file() and one.read_bytes() == other.read_bytes():
        return True
    try:
        # The same numbers to the last digit need the same processor: each adds in an order of its own.
        assert_frame_equal(pd.read_csv(one), pd.read_csv(other), rtol=1e-9, atol=1e-12)
    except (OSError, ValueError, AssertionError):
        return False
    return True


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A folder of results: of one study, of two data sets, and a page."""
    folder = tmp_path_factory.mktemp("results")
    (folder / "a study").mkdir()
    (folder / "README.md").write_text("mine")
    for dataset in ("mnist", "cifar10"):
        runs = [
            made_up_runs.runs(dataset, "lenet5", pruner, t, 1.5 + np.linspace(-0.1, 0.1, 4))
            for pruner, t in (("mp", 2), ("mp", 10), ("none", 1))
        ]
        made_up_runs.export(folder / "a study", *runs)
    rebuild.rebuild(folder / "a study", folder / "a study")
    return folder


def test_a_study_is_made_of_all_its_folders(results):
    assert rebuild.find_studies(results) == [results / "a study"]
    study = results / "a study"
    assert pd.read_csv(study / "cells.csv")["dataset"].unique().tolist() == ["cifar10", "mnist"]
    assert {"report.md", "tests.csv", "figures/slopes.png"} <= contents(study).keys()
    assert "figures/figure_13.png" not in contents(study)  # a picture of the paper
    endings = {Path(name).suffix for name in contents(study) if not name.endswith(".pruning-study")}  # of the exports
    assert endings == {".md", ".csv", ".png", ".gz", ".json"}


def test_made_twice_it_is_the_same_bytes(results):
    made = []
    for _ in range(2):
        result = CliRunner().invoke(rebuild.main, [str(results / "a study")])
        assert result.exit_code == 0, result.output
        assert result.output.startswith(f"{results / 'a study'}: ")
        made.append(contents(results))
    assert made[0] == made[1]


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("cells.csv", lambda text: text.replace("mp,2.0,4,", "mp,2.0,5,", 1)),
        ("alpha.csv", lambda text: "\n".join(text.splitlines()[:-1])),
        ("tests.csv", lambda text: ""),
        ("figures/figure_99.png", lambda text: ""),
    ],
)
def test_what_its_frames_do_not_give_is_found(results, tmp_path, name, change):
    made = results / "a study"
    for path, content in contents(made).items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    assert list(differences(tmp_path, made)) == []
    path = tmp_path / name
    path.write_text(change(path.read_text() if path.is_file() else ""))
    assert list(differences(tmp_path, made)) == [name]


def test_another_order_of_adding_is_no_difference(results, tmp_path):
    made = pd.read_csv(results / "a study" / "alpha.csv")
    made.assign(alpha=made["alpha"] * (1 + 1e-15)).to_csv(tmp_path / "alpha.csv", index=False)
    assert same_table(tmp_path / "alpha.csv", results / "a study" / "alpha.csv")


def test_nothing_to_make_it_of(tmp_path):
    (tmp_path / "frames").mkdir()
    with pytest.raises(StudyError, match="contains nothing that pruning-analysis export has written"):
        rebuild.rebuild(tmp_path, tmp_path)
    result = CliRunner().invoke(rebuild.main, [str(tmp_path)])
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith("Error: ")


def test_results_are_what_their_frames_give(tmp_path, monkeypatch):
    leave_undrawn(monkeypatch)
    again = shutil.copytree(rebuild.RESULTS, tmp_path / "results")
    rebuild.rebuild_results(again)
    for study in [path for path in rebuild.RESULTS.iterdir() if path.is_dir()]:
        assert list(differences(study, again / study.name)) == [], study
    for page in front_page.PAGES:
        assert (again / page).read_text() == (rebuild.RESULTS / page).read_text()
