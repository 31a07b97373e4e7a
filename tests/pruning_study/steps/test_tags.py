"""What a run's tags tell an analysis: cell, control, classes, command and study."""

import json
import shlex

import pytest

import pruning_study
from pruning_study.options.config import IterateConfig, PruneConfig, typed
from tests.stored_runs import runs

STUDIES = ("first", "controls", "alike", "other")
QUICK = {"epochs": 1, "fine_tune_epochs": 1, "batch_size": 32}


@pytest.fixture
def study(store_uri, tiny_npz, tmp_path):
    def run(name, text):
        file = tmp_path / f"{name}.yaml"
        quick = "\n".join(f"{name}: {value}" for name, value in QUICK.items())
        file.write_text(f"experiment: Default\ndataset: [{tiny_npz}]\n{text}\n{quick}\n")
        pruning_study.run_study(str(file), workers=1)

    return run


def test_runs_of_a_study_name_it__their_cells_and_their_own_controls(study, store_uri):
    study("first", "pruner: [mp, up]\nratio: [2]\nseed: 0-1")
    assert not any("control_run_id" in run.data.tags for run in runs("pruned"))
    study("controls", "pruner: [none]\nclass_weights: [none, dense]\nseed: 0-1")
    study("alike", "pruner: [mp]\nclass_weights: [dense]\nratio: [2]\nseed: [0]")
    study("other", "pruner: [mp]\nperformance_weighted: ['0.5,1.0']\nratio: [2]\nseed: [0]")
    dense, pruned = runs("dense"), {run.info.run_id: run for run in runs("pruned")}
    of_study = {name: [run for run in pruned.values() if run.data.tags["study"] == name] for name in STUDIES}
    assert {name: len(of_study[name]) for name in STUDIES} == {"first": 4, "controls": 4, "alike": 1, "other": 1}
    assert len({run.data.tags["cell"] for run in of_study["first"]}) == 2
    cell = json.loads(of_study["first"][0].data.tags["cell"])
    assert {"dataset": "tiny", "pruner": "mp", "ratio": "2.0", "epochs": "1"}.items() <= cell.items()
    assert cell.keys().isdisjoint(["seed", "sparsity", "phases", "fine_tune_phases"])
    for name, weights in (("first", "none"), ("alike", "dense"), ("other", "none")):
        for run in of_study[name]:
            control = pruned[run.data.tags["control_run_id"]]
            assert control.data.tags["dense_run_id"] == run.data.tags["dense_run_id"]
            assert (control.data.params["pruner"], control.data.params["class_weights"]) == ("none", weights)
    assert not any("control_run_id" in run.data.tags for run in of_study["controls"])
    assert {run.data.tags["study"] for run in dense} == {"first"}
    assert {json.loads(run.data.tags["class_names"])[9] for run in [*dense, *pruned.values()]} == {"Ankle boot"}


def test_the_command_of_a_run_finds_it(run_command, store_uri, tiny_npz):
    quick = [word for name, value in QUICK.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    run_command("prune", "--dataset", tiny_npz, *quick, "--ratio", "2,4", "--scope", "layer", "--seed", 3)
    dense, made = runs("dense"), runs("pruned")
    for run in [*dense, *made]:
        run_command(*shlex.split(run.data.tags["command"])[1:])
    assert [run.info.run_id for run in runs("pruned")] == [run.info.run_id for run in made]
    assert [run.info.run_id for run in runs("dense")] == [run.info.run_id for run in dense]


def test_a_command_has_what_differs_from_the_defaults_and_nothing_of_the_machine():
    config = PruneConfig(dataset="a b.npz", seed=2, engine="torch", force=True, control="none", sparsity=".5")
    assert typed("prune", config, ratio=2.0, sparsity=None) == (
        "pruning-study prune --dataset 'a b.npz' --model lenet5 --ratio 2 --seed 2"
    )
    chain = shlex.split(typed("iterate", IterateConfig(weight_treatment="rewind"), iterations=3))
    assert chain[-6:] == ["--iterations", "3", "--weight-treatment", "rewind", "--seed", "0"]
