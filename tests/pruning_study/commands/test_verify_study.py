"""`verify STUDY`: the networks of a seed are trained again, and a prediction that differs is found."""

from types import SimpleNamespace

import pytest

from analysis.runs import exports, schema
from analysis.study.study import StudyData
from pruning_study.commands import verify_study
from pruning_study.options.config import VerifyConfig
from pruning_study.study.published import PublishedSteps
from tests import made_up_runs

GRIDS = """dataset: [{data}]
seed: [3, 4]
grids:
  - {{pruner: [up], ratio: [4], epochs: 2, fine_tune_epochs: 1, batch_size: 64}}
  - {{pruner: [mp], ratio: [4], schedule: [cubic], decay: [cosine], epochs: 2, fine_tune_epochs: 3}}
  - {{pruner: [l1-unstructured], iterations: 3, weight_treatment: [rewind], epochs: 1}}
"""


@pytest.fixture
def exported(run_command, store_uri, tiny_npz, tmp_path, monkeypatch):
    """Make a study of the tiny data, and return the folder of its frames."""
    monkeypatch.setenv("PRUNING_STUDY_DATA", str(tmp_path))
    file = tmp_path / "study.yaml"
    file.write_text(GRIDS.format(data=tiny_npz))
    result = run_command("study", file, "--workers", 1)
    assert result.exit_code == 0, result.output
    StudyData.from_store().export(tmp_path / "frames")
    return tmp_path / "frames"


def rewrite(folder, change=lambda study: study, predicted=None):
    """Write an export again, with other frames or another prediction."""
    study, predictions = exports.read([folder])

    def altered(run_ids):
        found = predictions(run_ids)
        for run_id in found.keys() & {predicted}:
            found[run_id][schema.PREDICTED][7] = (found[run_id][schema.PREDICTED][7] + 1) % 10
        return found

    exports.write(change(study), altered, {}, folder)


@pytest.mark.compiler
def test_networks_of_a_study_are_trained_again_and_compared(run_command, exported, tmp_path):
    study, _ = exports.read([exported])
    runs = study.runs[study.runs["seed"] == 4]
    assert (len(runs), len(study.runs), len(study.dense_runs)) == (4, 8, 6)
    verified = run_command("verify", exported, "--seed", 4, "--workers", 2)
    assert verified.exit_code == 0, verified.output
    lines = [line for line in verified.output.splitlines() if line.endswith("as published")]
    assert len(lines) == 7
    assert not (tmp_path / "mlruns" / "0").exists()

    run_id = runs["run_id"].iloc[1]
    rewrite(exported, predicted=run_id)
    refuted = run_command("verify", exported, "--seed", 4)
    assert refuted.exit_code == 1
    assert sum(line.endswith("as published") for line in refuted.output.splitlines()) == 6
    (line,) = [line for line in refuted.output.splitlines() if line.endswith("1 of 200 differ")]
    assert run_id in line
    assert f"the predictions of 1 of 7 networks differ from those in {exported}: {run_id}" in refuted.output


def test_networks_that_are_not_compared_are_counted(monkeypatch, tmp_path):
    """The pruned network of seed 1 has a ratio below 1, so that reading the export leaves it out."""
    cells = made_up_runs.runs("pics", "net", "mp", 2, [1, 1]), made_up_runs.runs("pics", "net", "up", 2, [1, 1])
    made = made_up_runs.study(*cells).assign(ratio=[2, 0.5, 2, 2])
    study = made_up_runs.whole(made)
    study.rows["tags.arithmetic"] = ["2", "2", "2", "2", "torch", "torch"]
    exports.write(study, made_up_runs.predicted(*cells), {}, tmp_path)
    step = SimpleNamespace(name="pics net dense seed 0", config_hash="hash")
    monkeypatch.setattr(verify_study, "steps_of", lambda runs, config: PublishedSteps([], {}, {runs[0].run_id: step}))
    predictions = made_up_runs.predicted(*cells)(["pics net 0"])["pics net 0"]
    monkeypatch.setattr(verify_study, "_predictions", lambda *_: {"hash": predictions})
    _, *lines = verify_study.compared_lines(tmp_path, VerifyConfig(seed=0))
    assert lines == [
        "1 of 3 networks of seed 0 cannot be compared: 1 with arithmetic torch",
        "not compared: 1 pruned run left out, ratio is below 1, although it is parameters before / parameters after "
        "pruning: pics net mp 2 1 ",
    ]
