"""`compress` from end to end: what it delivers, what is found again, and what is refused."""

import doctest
import sys

import click.testing
import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from mlflow import MlflowClient

import pruning_study
from analysis.common.errors import StudyError
from analysis.report.report import report as make_report
from analysis.runs import pull, schema
from analysis.statistics.limits import Limits
from analysis.study.study import ReportOptions, StudyData
from pruning_study.__main__ import cli
from pruning_study.models import onnx_export
from pruning_study.models.latency import Compared, Latency
from pruning_study.steps.class_changes import class_changes
from pruning_study.study.compression import report
from pruning_study.study.compression.chains import Chain
from pruning_study.study.compression.judgement import Judgement
from pruning_study.tracking import connect
from tests.deadline import wait_until
from tests.pruning_study.steps.test_class_changes import network
from tests.pruning_study.steps.test_logged_model import scored
from tests.stored_runs import artifact, empty_store, leave_pictures_blank, runs
from tests.warm_processes import WarmProcess, run_module

QUICK = {"epochs": 8, "fine_tune_epochs": 1, "batch_size": 16, "validation_fraction": 0.4}
LOOSE = {"max_class_loss": 99, "max_accuracy_loss": 90}


def arguments(dataset, **options):
    given = {"dataset": dataset, **QUICK, **LOOSE, "n_trials": 4} | options
    typed = [part for name, value in given.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    return ["compress", *typed]


def called(dataset, **options):
    return click.testing.CliRunner().invoke(cli, arguments(dataset, **options))


@pytest.fixture
def refused(tiny_npz, store_uri):
    def run(**options):
        result = called(tiny_npz, **options)
        assert result.exit_code != 0, result.output
        (line,) = [line for line in result.output.splitlines() if line.startswith("error: ")]
        return line

    return run


@pytest.fixture(scope="module")
def compressed(session_store, tiny, tmp_path_factory):
    """The data, the experiment's runs by kind and the output of a search, in an experiment that is the current one."""
    folder = tmp_path_factory.mktemp("compressed")
    np.savez(folder / "tiny.npz", **tiny)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", session_store)
        patch.setenv("MLFLOW_EXPERIMENT_NAME", "compressed")
        patch.chdir(folder)
        leave_pictures_blank(patch)
        result = called(folder / "tiny.npz", confirm_seeds=2)
        assert result.exit_code == 0, result.output
        yield folder / "tiny.npz", result.stdout


class TestRefused:
    @pytest.mark.parametrize(("module", "extra"), [("onnxruntime", "onnx"), ("torch_pruning", "structured")])
    def test_without_an_extra_is_one_line_before_anything_is_made(self, refused, monkeypatch, module, extra):
        if module == "torch_pruning":
            monkeypatch.setattr(onnx_export, "check_installed", lambda: None)
        monkeypatch.setitem(sys.modules, module, None)
        line = refused()
        assert line.startswith("error: this command needs ")
        assert f"pip install 'pruning-study[{extra}]'" in line
        assert not runs(status=None)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"n_trials": 3}, "--n-trials: 3 is below 4, the number of chains that a search may begin with"),
            ({"confirm_seeds": 1}, "--confirm-seeds: 1 is too few"),
            ({"seed": "0-2", "dense_run_id": "a" * 32}, "--seed: --dense-run-id names one network: give one seed"),
            ({"seed": "0-2", "weights": "w.safetensors"}, "--seed: --weights names one network: give one seed"),
            ({"max_class_loss": 0}, "--max-class-loss: 0 must be above 0 and below 100"),
            ({"budget": "soon"}, "--budget: 'soon' is not a time above 0: write 90s, 30m or 2h"),
            ({"minimize": "bytes"}, "--minimize: 'bytes' is not known: it takes size, latency, macs"),
        ],
    )
    def test_a_wrong_value_is_one_line(self, refused, options, message):
        assert f"error: {message}" in refused(**options)
        assert not runs(status=None)

    @pytest.mark.onnx
    @pytest.mark.structured
    def test_limits_that_so_few_images_cannot_show_are_one_line_with_the_number_that_would_do(self, refused):
        """16 images of each of ten classes: 2.7055 / 18.7055 is 14.5 points; 2.7055 / 90.7055 is below 3."""
        line = refused(max_class_loss=3)
        assert "--max-class-loss: 3 points cannot be checked: class 'T-shirt/top' has 16 validation images" in line
        assert "14.5 points. Give 88 images of each class for validation (" in line
        assert not runs(status=None)

    @pytest.mark.onnx
    @pytest.mark.structured
    def test_the_split_of_a_dense_run_is_not_to_be_changed(self, refused, tiny_npz):
        """2.7055 / 32.7055 is .0827 and 2.7055 / 31.7055 .0853; 30 of the 40 images of a class are 75 %."""
        run = pruning_study.train(dataset=tiny_npz, epochs=1, batch_size=16, validation_fraction=0.4).run_id
        line = refused(dense_run_id=run, epochs=1, max_class_loss=8.5)
        assert "30 images of each class for validation (train a network with --validation-fraction 0.75), or" in line

    @pytest.mark.onnx
    @pytest.mark.structured
    def test_a_dense_run_of_the_released_protocol_is_one_line(self, refused):
        store = connect.connect()
        run = store.client.create_run(store.experiment_id, tags={"kind": "dense"}).info.run_id
        store.client.log_param(run, "protocol", "released")
        store.client.set_terminated(run)
        line = refused(dense_run_id=run)
        assert "--dense-run-id: this run's protocol, released, keeps the epoch with the lowest test loss" in line
        assert line.endswith("name a run of --protocol paper")

    @pytest.mark.onnx
    @pytest.mark.structured
    def test_a_budget_that_ends_before_the_first_chain_is_one_line_and_the_next_call_goes_on(self, refused):
        line = refused(budget="0.001s", epochs=4)
        assert "--budget: the 0.001 seconds ended before the first chain was made, because" in line
        assert [run.data.tags["kind"] for run in runs()] == ["dense"]

    @pytest.mark.onnx
    @pytest.mark.structured
    def test_a_network_that_guesses_is_one_line(self, refused):
        line = refused(epochs=1, learning_rate=1e-9)
        assert "of the validation images right, which is no better than chance" in line
        assert not runs("compressed")


def by_id(found, run_id):
    (run,) = [run for run in found if run.info.run_id == run_id]
    return run


def measurements():
    """The ids of the networks' runs; jobs, searches and trials are none."""
    return {run.info.run_id for run in runs() if run.data.tags["kind"] in ("dense", "pruned", "compressed")}


def of_the_search():
    """The compressed runs of the first network; those of others confirm the choice."""
    return [run for run in runs("compressed") if run.data.params["seed"] == "0"]


def is_integers(run):
    return "pruner" not in run.data.params and run.data.params["number_format"] == "fixed-int8"


def accuracy(run):
    with np.load(artifact(run, "val_predictions.npz")) as stored:
        return (stored["label"] == stored["predicted"]).mean()


def is_float(run):
    return run.data.params["number_format"] == "float32"


@pytest.mark.onnx
@pytest.mark.structured
class TestDelivered:
    def test_the_job_holds_the_network_its_card_and_the_pictures(self, compressed):
        (job, *_) = runs("job")
        names = {path.name for path in artifact(job, "").iterdir()}
        tables, pictures = {"trials.csv", "class_losses.csv"}, {"front.png", "classes.png"}
        assert names == {"compressed.onnx", "model_card.md", "chains.json"} | tables | pictures
        (run,) = [run for run in runs("compressed") if run.info.run_id == job.data.tags["compressed_run_id"]]
        assert artifact(job, "compressed.onnx").read_bytes() == artifact(run, "model.onnx").read_bytes()
        assert job.data.metrics["model_bytes"] == artifact(job, "compressed.onnx").stat().st_size
        assert job.data.tags["state"] in ("within", "beyond", "undecided")
        card = artifact(job, "model_card.md").read_text()
        assert card.count("\n| ") == 13  # header, line, all images and ten classes
        assert {"worst_class_loss", "worst_class_loss_upper", "accuracy_loss_upper"} <= job.data.metrics.keys()
        assert {"worst_class", "outcome"} <= job.data.tags.keys()
        assert run.info.run_id in card

    def test_the_four_first_chains_are_runs_and_only_what_is_tested_has_seen_test_images(self, compressed):
        made = of_the_search()
        chains = [(run.data.params.get("pruner", "dense"), run.data.params["number_format"]) for run in made]
        assert sorted(chains) == [
            ("dense", "fixed-int8"),
            ("dense", "float32"),
            ("l1-filter", "fixed-int8"),
            ("l1-filter", "float32"),
        ]
        trials = pd.read_csv(artifact(runs("job")[0], "trials.csv"))
        assert sorted(trials["run_id"]) == sorted(run.info.run_id for run in made)
        files = [artifact(by_id(made, run_id), "model.onnx") for run_id in trials["run_id"]]
        assert trials["model_bytes"].tolist() == [file.stat().st_size for file in files]
        tested = [run for run in made if "test_accuracy" in run.data.metrics]
        assert 1 <= len(tested) <= 2
        assert runs("job")[0].data.tags["compressed_run_id"] in {run.info.run_id for run in tested}

    def test_each_chain_is_a_trial_below_the_search_and_has_seen_validation_images_alone(self, compressed):
        (job, *_) = runs("job")
        (search,) = [run for run in runs("tuning") if run.info.run_id == job.data.tags["tuning_run_id"]]
        trials = [run for run in runs("trial") if run.data.tags["mlflow.parentRunId"] == search.info.run_id]
        table = pd.read_csv(artifact(job, "trials.csv"), dtype=str, keep_default_na=False)
        chain = ["pruner", "ratio", "schedule", "fine_tune_epochs", "class_offsets", "number_format"]
        assert [run.data.params for run in trials] == table[chain].to_dict("records")
        assert [run.data.tags["anchor"] for run in trials] == table["first"].tolist()
        assert [run.data.tags["worst_class"] for run in trials] == table["worst_class"].tolist()
        assert [run.data.tags["compressed_run_id"] for run in trials] == table["run_id"].tolist()
        assert {run.data.tags["state"] for run in trials} == {"complete"}
        measured = ["accuracy", "accuracy_loss", "accuracy_loss_upper", "class_loss", "class_loss_upper"]
        metrics = {f"val_{name}": name for name in measured}
        metrics |= {"objective/cost": "cost", "model_bytes": "model_bytes", "macs": "macs"}
        for run, (_, row) in zip(trials, table.iterrows(), strict=True):
            assert run.data.metrics == pytest.approx({name: float(row[column]) for name, column in metrics.items()})

    def test_searches_and_trials_are_no_data_of_the_analysis(self, compressed):
        pairs = pull.study("compressed")
        assert set(pairs.runs["run_id"]) == {run.info.run_id for run in runs("pruned")}
        assert set(pairs.dense_runs["dense_run_id"]) == {run.info.run_id for run in runs("dense")}

    def test_a_report_draws_the_search(self, compressed):
        study = StudyData.from_store("compressed")
        (search,) = study.chain_searches
        trials = pd.read_csv(artifact(runs("job")[0], "trials.csv"))
        assert (search.minimize, search.max_class_loss, search.max_accuracy_loss) == ("size", 0.99, 0.9)
        assert search.trials["cost"].tolist() == trials["model_bytes"].tolist()
        assert search.trials["class_loss_upper"].tolist() == pytest.approx(trials["class_loss_upper"])
        assert any(
            each.title.startswith("The smallest network: ") for each in make_report(study, ReportOptions()).sections
        )

    def test_the_pruned_network_in_float32_gives_what_torch_gives(self, compressed):
        (run,) = [run for run in of_the_search() if run.info.run_name.startswith("filters") and is_float(run)]
        network = pruning_study.load_model(run.data.tags["parent_run_id"])
        with np.load(compressed[0]) as arrays:
            images = np.ascontiguousarray(arrays["test_images"].transpose(0, 3, 1, 2))
        wanted = network(torch.from_numpy(images)).detach().numpy()
        given = onnx_export.logits(onnx_export.load(artifact(run, "model.onnx"), "model.onnx"), images)
        assert np.abs(given - wanted).max() <= 1e-4 * max(1, np.abs(wanted).max())
        # Half of the 6 and 16 filters: 3 * 10 + 8 * (3 * 9 + 1) + 8 * 25 * 120 + 120 + 10,164 + 850 parameters
        assert run.data.metrics["parameters"] == 30 + 224 + 24_000 + 120 + 10_164 + 850

    def test_the_model_is_served_without_pickle(self, compressed):
        (job, *_) = runs("job")
        (model,) = MlflowClient().search_logged_models(
            [job.info.experiment_id], f"source_run_id = '{job.data.tags['compressed_run_id']}'"
        )
        with np.load(compressed[0]) as arrays:
            images = np.ascontiguousarray(arrays["test_images"].transpose(0, 3, 1, 2))
        network = onnx_export.session(onnx_export.load(artifact(job, "compressed.onnx"), "compressed.onnx"))
        (logits,) = network.run(["logits"], {"images": images})
        assert scored(f"models:/{model.model_id}", compressed[0]) == logits.argmax(1).tolist()
        signature = mlflow.models.get_model_info(f"models:/{model.model_id}").signature
        assert signature.inputs.inputs[0].shape == (-1, 1, 28, 28)

    def test_new_networks_confirm_it(self, compressed):
        assert {run.data.params["seed"] for run in runs("dense")} == {"0", "1", "2"}
        assert "On new networks: " in compressed[1]

    def test_several_seeds_are_judged_together_and_the_first_is_delivered(self, compressed):
        result = called(compressed[0], seed="0-2")
        assert result.exit_code == 0, result.output
        assert "Losses are means over the networks of 3 seeds" in result.output
        *_, job = runs("job")
        made = runs("compressed")
        delivered = by_id(made, job.data.tags["compressed_run_id"])
        assert delivered.data.params["seed"] == "0"
        trials = pd.read_csv(artifact(job, "trials.csv")).set_index("number")
        assert (trials["class_loss"][0], len(trials)) == (0, 4)  # the network as it is
        # Integers: the loss of accuracy is the mean of the three networks', each on validation images of its own.
        integers = [run for run in made if is_integers(run)]
        dense = {run.data.params["seed"]: run for run in runs("dense")}
        losses = [accuracy(dense[run.data.params["seed"]]) - accuracy(run) for run in integers]
        assert sorted(run.data.params["seed"] for run in integers) == ["0", "1", "2"]
        assert trials["accuracy_loss"][1] == pytest.approx(np.mean(losses))
        assert "judged on: dense runs " in artifact(job, "model_card.md").read_text()
        table = pd.read_csv(artifact(job, "class_losses.csv"))
        own = [delivered.data.metrics[f"recall/{name}"] for name in schema.metric_names(table["class"])]
        assert table["recall_delivered"].tolist() == pytest.approx(own)

    def test_a_dense_run_is_compressed_as_its_options_would_be(self, compressed):
        made = measurements()
        (dense,) = [run for run in runs("dense") if run.data.params["seed"] == "0"]
        own = {"fine_tune_epochs": 1, "dense_run_id": dense.info.run_id, "dataset": compressed[0]}
        typed = [part for name, value in own.items() for part in (f"--{name.replace('_', '-')}", str(value))]
        limits = ["--max-class-loss", "99", "--max-accuracy-loss", "90", "--n-trials", "4"]
        result = click.testing.CliRunner().invoke(cli, ["compress", *typed, *limits])
        assert result.exit_code == 0, result.output
        assert measurements() == made
        first, *_, last = runs("job")
        assert last.data.tags["compressed_run_id"] == first.data.tags["compressed_run_id"]
        assert last.data.params["epochs"] == first.data.params["epochs"] == "8"

    def test_the_same_command_finds_all_and_tighter_limits_choose_anew(self, compressed):
        before = [run.info.run_id for run in runs() if run.data.tags["kind"] != "job"]
        result = called(compressed[0], max_class_loss=30)
        assert result.exit_code == 0, result.output
        assert [run.info.run_id for run in runs() if run.data.tags["kind"] != "job"] == before
        assert "4 of 4 chains" in result.output

    def test_a_deleted_run_of_the_choice_is_made_again_and_delivered(self, compressed):
        client, deleted = MlflowClient(), runs("job")[0].data.tags["compressed_run_id"]
        client.delete_run(deleted)
        result = called(compressed[0])
        assert result.exit_code == 0, result.output
        *_, job = runs("job")
        made = job.data.tags["compressed_run_id"]
        try:
            run = by_id(runs("compressed"), made)
            assert artifact(job, "compressed.onnx").read_bytes() == artifact(run, "model.onnx").read_bytes()
            card = artifact(job, "model_card.md").read_text()
            assert f"compressed run: {made}" in card
            assert deleted not in card
        finally:
            client.restore_run(deleted)
            client.delete_run(made)

    def test_a_search_whose_chains_are_all_tried_is_continued_by_a_larger_number(self, compressed):
        assert "4 of 4 chains; a larger --n-trials continues it" in compressed[1]

    def test_torch_cannot_load_it_and_the_line_says_what_can(self, compressed):
        (job, *_) = runs("job")
        with pytest.raises(StudyError, match=r"is compressed: .* use its artifact model\.onnx"):
            pruning_study.load_model(job.info.run_id)


class TestSaid:
    """Of 1,000 images of each class; the network that is compressed has all right."""

    CLASSES = ("hat", "bag")

    def found(self, *lost):
        """Return the test of networks that lose so many of the hats, all of which are called bag."""
        dense = network([], 1000)
        changes = class_changes(self.CLASSES, [dense] * len(lost), [network(range(each), 1000) for each in lost])
        return report.Tested(Chain(), changes, Limits(0.03, 0.05))

    def outcome(self, *lost):
        trials = pd.DataFrame(
            {
                **{"cost": [10.0], "model_bytes": [10], "macs": [10], "accuracy": [1.0], "worst_class": ["hat"]},
                **{"accuracy_loss": [0.0], "accuracy_loss_upper": [0.004], "class_loss": [0.0]},
                **{"class_loss_upper": [0.004], "number": [0]},
            }
        )
        choice, limits = report.Choice(0, 0, 0), Limits(0.03, 0.05)
        notes = ["No filters are removed."]
        return report.Outcome("size", limits, [Chain()], trials, choice, notes, self.found(*lost), None, None, [])

    @pytest.mark.parametrize(("lost", "state"), [(0, "within"), (30, "undecided"), (80, "beyond")])
    def test_a_choice_is_confirmed_undecided_or_fails_on_test_images(self, lost, state):
        """At most .3 points; 2.1 to 4.0; and 6.4 or more where the limit is 3."""
        outcome = self.outcome(lost)
        assert outcome.state == state
        assert outcome.tested.classes["recall_after"].tolist() == [1 - lost / 1000, 1]
        assert outcome.tested.classes["loss"].tolist() == pytest.approx([lost / 1000, 0])

    def test_the_delivered_network_must_keep_the_limits_too(self):
        """The first network loses 60 of 1,000 hats and nine others none, 6 of 1,000 on average."""
        outcome = self.outcome(60, *[0] * 9)
        assert report.merged(outcome.tested.gates).state != "beyond"
        assert outcome.state == "beyond"
        said = " ".join(report.sentences(outcome))
        assert "The delivered network: The loss of hat is above" in said
        assert "In the delivered network the accuracy loses 3.0" in said

    def test_a_choice_that_fails_is_said_to_fail(self):
        outcome = self.outcome(80)
        said = "\n".join(report.sentences(outcome))
        assert "Not confirmed: the choice fails on test images. The loss of hat is above 6." in said
        assert "- Not confirmed" in report.model_card(outcome, "hats", {}, "", (1, 28, 28))
        none = outcome._replace(choice=report.Choice(None, 0, None), tested=None)
        said = report.sentences(none)
        assert said[0] == "No chain keeps to both limits on validation images. The nearest: not pruned, float32."
        assert said[-2] == "No chain keeps to the limit of the accuracy either."

    def test_the_choice_comes_first_and_what_was_not_tried_last(self):
        first, *_, last = report.sentences(self.outcome(0))
        assert first == "The choice: not pruned, float32."
        assert last == "No filters are removed."

    def test_what_the_choice_loses_on_test_images_is_said(self):
        """Of 1,000 hats 30 are lost: 3 points, at most 4.0 (Wilson, z = 1.645)."""
        said = report.sentences(self.outcome(30))
        (losses,) = (line for line in said if line.startswith("On test images"))
        assert "the worst class, hat, loses 3.0, at most 4.0 (limit 3)" in losses
        assert any("hat is worse: 100.0 -> 97.0 % recall" in line for line in said)

    def test_a_choice_is_not_slower_than_itself(self):
        slow = Compared(*[Latency(1.01, 1.003, 1.02)] * 3)
        outcome = self.outcome(0)._replace(times=[slow, slow])
        pruned = outcome._replace(chains=[Chain("mp", 2)])
        assert not any("is slower" in line for line in report.sentences(outcome))
        assert any("is slower" in line for line in report.sentences(pruned))

    def test_a_card_has_all_images_before_the_classes_and_says_what_the_model_takes_and_gives(self):
        """Of 60 in 2,000 images the loss is 3 points, and its one-sided bound 3.69 (Wilson, z = 1.645)."""
        card = report.model_card(self.outcome(60), "hats", {}, "load()", (1, 28, 28))
        rows = [line for line in card.splitlines() if line.startswith("| ")]
        assert rows[2] == "| **all images** | 2,000 | 100.0 | 97.0 | 3.0 | 3.7 |"
        assert [row.split(" | ")[0] for row in rows[3:]] == ["| hat", "| bag"]
        assert "of shape [N, 1, 28, 28]" in card
        assert "in the order of `class_losses.csv`" in card

    def test_a_card_on_several_networks_says_means_and_has_the_recalls_of_the_delivered_network_too(self):
        """The first of two networks loses 20 of the 1,000 hats and the second 60, so that they lose 40 on average."""
        outcome = self.outcome(20, 60)
        assert outcome.tested.classes["recall_after"].tolist() == pytest.approx([0.96, 1])
        assert outcome.tested.classes["recall_delivered"].tolist() == [0.98, 1]
        card = report.model_card(outcome, "hats", {}, "load()", (1, 28, 28))
        assert "the compressed network (means over 2 networks, as losses are), and of the delivered network." in card
        header, line, *rows = [line for line in card.splitlines() if line.startswith("| ")]
        assert header == "| class | test images | dense | compressed | delivered | loss | at most |"
        assert line.count("|") == header.count("|")
        assert rows[0].startswith("| **all images** | 2,000 | 100.0 | 98.0 | 99.0 | 2.0 | ")
        assert rows[1].startswith("| hat | 1,000 | 100.0 | 96.0 | 98.0 | 4.0 | ")

    def test_what_a_chain_costs_and_may_lose_is_a_line(self):
        result = Judgement(47_610.0, 47_610, 9, 0.9, 0.0, 0.01, "Coat", 0.03, 0.154, "run")
        assert (
            report.progress(Chain(), result, "size") == "not pruned, float32: 47,610 bytes, Coat may lose 15.4 points"
        )
        assert "0.532 of the dense network's time" in report.progress(Chain(), result._replace(cost=0.5321), "latency")


@pytest.mark.onnx
@pytest.mark.structured
@pytest.mark.slow
def test_a_chain_whose_fine_tuning_diverges_is_a_trial_that_says_so(tiny_npz, store_uri):
    result = called(tiny_npz, fine_tune_learning_rate=1e30)
    assert result.exit_code == 0, result.output
    said, trials = " ".join(result.stderr.split()), runs("trial")
    assert [run.data.tags["state"] for run in trials] == ["complete", "complete", "pruned", "pruned"]
    assert not any(run.data.metrics for run in trials[2:])
    for run in trials[2:]:
        assert f"{run.info.run_name.partition(': ')[2]} cannot be made: {run.data.tags['error']}" in said


@pytest.mark.onnx
@pytest.mark.structured
@pytest.mark.slow
def test_two_processes_share_one_search_and_a_killed_one_leaves_its_trial_to_the_next(tiny_npz, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", empty_store(tmp_path / "mlflow.db"))
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "Default")
    monkeypatch.chdir(tmp_path)
    leave_pictures_blank(monkeypatch)
    killed, other = (WarmProcess(run_module, "pruning_study", *arguments(tiny_npz, n_trials=12)) for _ in range(2))
    wait_until(lambda: len(runs("trial")) >= 3, killed)
    killed.kill()
    killed.wait()
    other.wait()
    assert other.returncode == 0, other.output.read_text()
    assert called(tiny_npz, n_trials=12).exit_code == 0
    (search,), trials = runs("tuning", status=None), runs("trial")
    assert len(trials) == len({tuple(run.data.params.items()) for run in trials}) == 12
    assert {run.data.tags["mlflow.parentRunId"] for run in trials} == {search.info.run_id}
    unfinished = [run.info.status for run in runs("trial", status=None) if run.info.status != "FINISHED"]
    assert unfinished in ([], ["KILLED"])


@pytest.mark.onnx
@pytest.mark.structured
def test_the_example_of_the_public_function_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", empty_store(tmp_path / "mlflow.db"))
    leave_pictures_blank(monkeypatch)
    (example,) = doctest.DocTestFinder(recurse=False).find(pruning_study.compress, "compress", globs={})
    failures = []
    runner = doctest.DocTestRunner()
    runner.run(example, out=failures.append)
    assert runner.failures == 0, "".join(failures)
