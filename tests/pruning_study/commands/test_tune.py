"""`tune` from end to end, in this process, on small real data."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import click.testing
import numpy as np
import optuna.cli
import pandas as pd
import pytest
import torch
from mlflow import MlflowClient
from optuna.distributions import FloatDistribution

import pruning_study
from analysis.common.errors import StudyError
from analysis.rendering import tuning_text
from analysis.study.study import StudyData
from pruning_study.__main__ import cli
from pruning_study.commands import tune as tune_command
from pruning_study.options.config import TuneConfig
from pruning_study.steps import pruned as steps
from pruning_study.steps import runs as step_runs
from pruning_study.study.tuning import search
from pruning_study.study.tuning.search import AS_MAGNITUDE
from pruning_study.tracking import connect
from tests.deadline import wait_until
from tests.plans import planned, train_with_batches_in_another_order
from tests.stored_runs import empty_store, leave_pictures_blank
from tests.warm_processes import WarmProcess, run_module

QUICK = {"epochs": 4, "fine_tune_epochs": 1, "batch_size": 32, "validation_fraction": 0.4, "seeds": "0,1"}


def arguments(tiny_npz, **options):
    options = {"dataset": tiny_npz, **QUICK, "n_trials": 4} | options
    return ["tune", *(part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value)))]


@pytest.fixture
def tune(tiny_npz, store_uri):
    def run(code=0, **options):
        return called(tiny_npz, code, **options)

    return run


def called(tiny_npz, code=0, **options):
    """What a call says."""
    result = click.testing.CliRunner().invoke(cli, arguments(tiny_npz, **options))
    assert result.exit_code == code, result.output
    return result.output if code else result.stdout


@pytest.fixture(scope="module")
def searched(session_store, tiny, tmp_path_factory):
    """The data and the output of a search with confirmation, in an experiment of its own, which is the current one."""
    folder = tmp_path_factory.mktemp("searched")
    np.savez(folder / "tiny.npz", **tiny)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", session_store)
        patch.setenv("MLFLOW_EXPERIMENT_NAME", "searched")
        patch.chdir(folder)
        leave_pictures_blank(patch)
        yield folder / "tiny.npz", called(folder / "tiny.npz", confirm_seeds=2, study_name="mine")


def runs(kind, status="FINISHED"):
    """This experiment's runs of a kind, the oldest first."""
    client = MlflowClient()
    experiment = client.get_experiment_by_name(os.environ["MLFLOW_EXPERIMENT_NAME"])
    if experiment is None:
        return []
    query = f"attributes.status = '{status}' and tags.kind = '{kind}'"
    return client.search_runs([experiment.experiment_id], query, order_by=["attributes.start_time ASC"])


def artifact(run, name):
    return Path(run.info.artifact_uri) / name


def predicted(path):
    with np.load(path) as arrays:
        return arrays["predicted"].tolist()


class TestASearch:
    @pytest.fixture
    def output(self, searched):
        return searched[1]

    def test_trials_stand_below_their_search_and_know_no_test_image(self, output):
        (parent,), trials = runs("tuning"), runs("trial")
        assert [trial.data.tags["anchor"] for trial in trials] == ["lambda", "MP", "GP", ""]
        for trial in trials:
            assert trial.data.tags["mlflow.parentRunId"] == parent.info.run_id
            assert trial.data.tags["state"] == "complete"
            assert trial.data.params["ratio"] == "10.0"
            assert not [name for name in trial.data.metrics if "test" in name or name.startswith("recall")]
            history = MlflowClient().get_metric_history(trial.info.run_id, "val_accuracy")
            assert [metric.step for metric in history] == [0, 1, 2]
            mean = np.mean([metric.value for metric in history[:2]])
            for name in ("objective/accuracy", "val_accuracy"):
                assert trial.data.metrics[name] == pytest.approx(mean)
        assert [trial.data.params["epsilon"] for trial in trials[:3]] == ["0.0005", "100000000.0", "0.0"]

    def test_only_winner_and_anchors_become_pruned_runs(self, output):
        (parent,) = runs("tuning")
        finalists = pd.read_csv(artifact(parent, "finalists.csv"))
        epsilons = {0.0005, 1e8, 0.0, float(parent.data.tags["epsilon"])}
        found = {(float(run.data.params["epsilon"]), int(run.data.params["seed"])) for run in runs("pruned")}
        assert found == {(epsilon, seed) for epsilon in epsilons for seed in (0, 1, 2, 3)}
        assert set(finalists["run_id"]) == {run.info.run_id for run in runs("pruned")}
        assert finalists.groupby("new")["seed"].unique().map(list).to_dict() == {False: [0, 1], True: [2, 3]}
        assert len(runs("dense")) == 4

    def test_the_pruned_runs_predict_for_validation_images_what_their_trials_did(self, output, searched):
        store = connect.connect()
        trials = pd.read_csv(artifact(runs("tuning")[0], "trials.csv"), keep_default_na=False)
        for run in runs("pruned"):
            params = run.data.params
            if params["seed"] not in ("0", "1"):
                continue
            (trial,) = trials[np.isclose(trials["epsilon"], float(params["epsilon"]), rtol=0)].to_dict("records")
            config = TuneConfig(dataset=str(searched[0]), **QUICK).pruning(int(params["seed"]))
            setting = planned(config)
            dense = step_runs.load(store, store.get(run.data.tags["dense_run_id"]), *setting.dense)
            tried = steps.trial(*setting.at(epsilon=float(params["epsilon"])).at_ratio(10.0), dense)
            assert tried.predicted.tolist() == predicted(artifact(run, "val_predictions.npz"))
            assert tried.accuracy == pytest.approx(trial[f"accuracy/{params['seed']}"])

    def test_the_anchors_prune_as_gp_and_as_mp(self, output, searched):
        store = connect.connect()
        config = TuneConfig(dataset=str(searched[0]), **QUICK).pruning(0)
        setting = planned(config)
        dense = step_runs.load(store, runs("dense")[0], *setting.dense)
        for pruner, epsilon in (("gp", 0.0), ("mp", AS_MAGNITUDE)):
            other = planned(replace(config, pruner=pruner), setting.context.data)
            masks = [
                steps.pruning_masks(steps.plan_for(*each.at_ratio(10.0), dense), each.context, dense)
                for each in (setting.at(epsilon=epsilon), other)
            ]
            assert all(torch.equal(masks[0][name], masks[1][name]) for name in masks[0])

    def test_the_winner_is_the_most_accurate_trial(self, output):
        trials = pd.read_csv(artifact(runs("tuning")[0], "trials.csv"))
        assert trials["accuracy"].idxmax() == trials["winner"].idxmax()

    @pytest.mark.filterwarnings("ignore:'trials' is an experimental CLI command")
    def test_it_ends_with_winner_and_anchors_and_what_the_new_networks_say(self, output, monkeypatch, capsys):
        (parent,) = runs("tuning")
        finalists = pd.read_csv(artifact(parent, "finalists.csv"))
        for role, networks in finalists.groupby("role"):
            line = " ".join(line for line in output.splitlines() if line.startswith(f"{role} "))
            for new in (False, True):
                assert f"{networks.loc[networks['new'] == new, 'accuracy'].mean():.4f}" in line
        assert "with 2 dense models that the search never saw" in output
        assert "95 % interval" in output
        journal = connect.connect().journal
        assert f"optuna-dashboard {journal}" in output
        (command,) = [line for line in output.splitlines() if line.strip().startswith("optuna trials")]
        monkeypatch.setattr(sys, "argv", command.split())
        optuna.cli.main()
        listed = capsys.readouterr().out
        assert all(trial.info.run_id in listed for trial in runs("trial"))

    def test_the_analysis_reads_what_was_printed(self, output):
        (found,) = StudyData.from_store().tunings
        assert " ".join(tuning_text.summary(found).split()) in " ".join(output.split())

    def test_pictures(self, output):
        (parent,) = runs("tuning")
        there = {item.path for item in MlflowClient().list_artifacts(parent.info.run_id)}
        assert there == {
            "epsilon.png",
            "trials.csv",
            "finalists.csv",
            "comparisons.csv",
            "tuning.json",
        }

    @pytest.mark.slow
    def test_the_same_call_trains_nothing_and_says_the_same(self, output, searched):
        before = [len(runs(kind)) for kind in ("dense", "pruned", "tuning", "trial")]
        again = called(searched[0], confirm_seeds=2, study_name="mine")
        assert [len(runs(kind)) for kind in ("dense", "pruned", "tuning", "trial")] == before
        assert again == output
        assert [job.data.tags["tuning_run_id"] for job in runs("job")] == [runs("tuning")[0].info.run_id] * 2

    def test_another_space_under_its_name_is_an_error_before_any_training(self, output, searched):
        before = len(runs("dense"))
        said = called(searched[0], code=2, study_name="mine", seeds="5,6")
        assert "'mine'" in said
        assert "seeds 0,1 there, 5,6 here" in said
        assert len(runs("dense")) == before


@pytest.mark.slow
def test_trials_of_a_network_that_was_trained_again_are_not_continued(tune, tiny_npz, monkeypatch):
    own = {"epochs": 8, "batch_size": 16}
    tune(**own, seeds=0, study_name="first")
    with monkeypatch.context() as patch:
        train_with_batches_in_another_order(patch)
        dense = pruning_study.train(
            dataset=tiny_npz, **own, validation_fraction=QUICK["validation_fraction"], force=True
        )
    before = [len(runs(kind)) for kind in ("tuning", "trial")]
    assert "search 'first' has trials of other" in tune(code=2, **own, seeds=0, study_name="first", n_trials=5)
    assert [len(runs(kind)) for kind in ("tuning", "trial")] == before
    tune(**own, seeds=0, study_name="second")
    finalists = pd.read_csv(artifact(runs("tuning")[-1], "finalists.csv"))
    lineage = {run.info.run_id: run.data.tags["dense_run_id"] for run in runs("pruned")}
    assert {lineage[run_id] for run_id in finalists["run_id"]} == {dense.run_id}


OWN_GRADIENT = {"gradient_batches": 4, "gradient_mode": "train", "gradient_objective": "data"}


def test_another_schedule_shares_what_has_been_worked_out(tiny_npz):
    setting = planned(TuneConfig(dataset=str(tiny_npz), fine_tune_epochs=4).pruning(0))
    train = setting.context.train
    other = setting.at(epsilon=1e-3, schedule="cubic", ramp=0.5, distill=0.25)
    assert other.context.train is train
    assert (other.plan.epsilon, other.plan.options.distill, len(other.kept_numbers(10))) == (1e-3, 0.25, 3)
    assert (setting.plan.epsilon, setting.plan.options.distill, len(setting.kept_numbers(10))) == (5e-4, 0.0, 1)
    with pytest.raises(StudyError, match=r"0\.9"):
        setting.at(schedule="cubic", ramp=0.9)


@pytest.mark.slow
@pytest.mark.usefixtures("drawn_pictures")
def test_both_ends_in_a_front_of_several_ratios(tune):
    output = tune(objective="both", ratio="2,10", n_trials=7, seeds=0, validation_fraction=0.6)
    (parent,) = runs("tuning")
    trials = pd.read_csv(artifact(parent, "trials.csv"))
    assert trials["front"].any()
    assert trials.loc[trials["winner"], ["complete", "eligible", "front"]].all(axis=None)
    assert f"{trials['front'].sum()} of the complete trials" in output
    there = {item.path for item in MlflowClient().list_artifacts(parent.info.run_id)}
    assert "pareto_front.png" in there
    assert {run.data.params["ratio"] for run in runs("pruned")} == {parent.data.tags["ratio"]}


def test_alpha_takes_the_least_distortion_near_the_best_anchor(tune):
    tune(objective="alpha", validation_fraction=0.6)
    trials = pd.read_csv(artifact(runs("tuning")[0], "trials.csv"), keep_default_na=False)
    anchors = trials.loc[trials["anchor"] != "", "accuracy"]
    fit = trials[trials["accuracy"] >= anchors.max() - 0.01]
    assert trials.loc[trials["winner"], "distortion"].item() == fit["distortion"].min()


def test_a_trial_whose_numbers_are_not_finite_is_refused_and_the_search_goes_on(tune, monkeypatch):
    """An epsilon above 3.4e38 is infinite in single precision, and so are the scores."""
    monkeypatch.setattr(search, "EPSILONS", FloatDistribution(1e39, 1e40, log=True))
    said = tune(objective="alpha", n_trials=5, seeds=0, validation_fraction=0.6)
    trials = runs("trial")
    assert [trial.data.tags["state"] for trial in trials] == ["complete"] * 3 + ["pruned"] * 2
    assert all("pruning scores are NaN or infinite" in trial.data.tags["error"] for trial in trials[3:])
    names = "; ".join(trial.info.run_name.partition(": ")[2] for trial in trials[3:])
    assert f"2 trials have no result, because the numbers became NaN or infinite: {names}." in " ".join(said.split())
    assert "5 of 5 trials" in said
    (parent,) = runs("tuning")
    assert pd.read_csv(artifact(parent, "trials.csv"))["anchor"].tolist() == ["lambda", "MP", "GP"]
    (found,) = StudyData.from_store().tunings
    assert "; ".join(found.refused) == names


def test_an_anchor_whose_training_diverges_ends_the_search(tune):
    output = tune(code=1, n_trials=3, seeds=0, fine_tune_learning_rate=1e6)
    assert "fine-tuning diverged in epoch 1" in output
    assert [run.data.tags.get("anchor") for run in runs("trial", "FAILED")] == ["lambda"]


def test_alpha_needs_more_than_one_validation_image_a_class(tune):
    output = tune(code=2, objective="alpha", validation_fraction=0.03)
    assert "too few validation images" in output
    assert runs("trial") == []


@pytest.mark.slow
def test_a_killed_search_goes_on(tiny_npz, store_uri, tune, tmp_path, monkeypatch):
    # Its own store: pytest's process has read the others through a second copy of SQLite, the driver's, whose closing
    # drops the locks that other processes go by.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", empty_store(tmp_path / "mlflow.db"))
    process = WarmProcess(run_module, "pruning_study", *arguments(tiny_npz, n_trials=200))
    wait_until(lambda: len(runs("trial")) >= 2, process)
    process.kill()
    process.wait()
    whole = len(runs("trial"))
    tune(n_trials=whole + 1)
    assert len(runs("trial")) == whole + 1
    assert not runs("trial", "RUNNING")
    assert len(runs("tuning")) == 1
    assert runs("tuning")[0].info.status == "FINISHED"


def test_a_search_with_a_teacher_takes_an_epoch_of_fine_tuning(tune):
    output = tune(code=2, distill=0.5, fine_tune_epochs=0)
    assert "--fine-tune-epochs" in output
    assert "distillation" in output
    assert not any(runs(kind) for kind in ("job", "dense", "tuning"))


@pytest.mark.parametrize(
    ("options", "digest"),
    [
        ({}, "69dfe9d7f81e1117a4353a9d9ad9d848eb393b7045799eba47b62dbd343286c7"),
        ({"scope": "global"}, "69dfe9d7f81e1117a4353a9d9ad9d848eb393b7045799eba47b62dbd343286c7"),
        (
            {"ratio": "5,10", "n_trials": 6, "objective": "both", "seeds": "5,6"},
            "ad1e8948978857a56e207a02fd5363ac3df254493189ebb18b39114d0770eaf7",
        ),
        (
            {"schedule": "cubic", "ramp": "0", "fine_tune_epochs": 0},
            "a7cf35f5bed61283bddd4ed05045474bb78e017aa5914eb3fca79a9c981f39d0",
        ),
    ],
)
def test_a_search_of_an_earlier_version_is_continued(options, digest):
    """These digests were recorded by 0.3.0."""
    assert space(**options).digest == digest


def test_another_scope_is_another_search():
    assert space(scope="layer").digest != space().digest


def space(**options):
    config = TuneConfig(**options)
    return tune_command.search_space(config, planned(config.pruning(config.seeds[0])).plan, "0")


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("n_trials", 0, "0 is below 1"),
        ("n_trials", 2, "2 is below 3"),
        ("seeds", "0,0", "0 is given twice"),
        ("seeds", "-1", "below 0"),
        ("ratio", "1000", "largest attainable ratio"),
        ("ratio", "5,10", "4 is below 6"),
        ("confirm_seeds", "-1", "below 0"),
        ("confirm_seeds", "1", "needs 2 or more"),
        ("objective", "speed", "it takes accuracy, alpha, both"),
        ("protocol", "released", "released keeps the epoch with the lowest test loss"),
        ("distill", "2", "at least 0 and at most 1"),
    ],
)
def test_bad_options_are_usage_errors_in_one_line_before_any_run(tune, option, value, message):
    output = tune(code=2, **{option: value})
    assert message in output
    assert "Traceback" not in output
    assert not any(runs(kind) for kind in ("job", "dense", "tuning"))
