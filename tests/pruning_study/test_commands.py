"""The commands from end to end, in this process, on small real data."""

import csv
import importlib
import json
import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import click.testing
import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from mlflow import MlflowClient
from safetensors.torch import load_file, save_file

import pruning_study
from analysis.audit import audit
from analysis.statistics.hypothesis_tests import change_interval
from pruning_study import models
from pruning_study.__main__ import cli
from pruning_study.commands.pruning_text import SAME_NETWORK
from pruning_study.data import labels
from pruning_study.pruning.pruners import PRUNERS
from tests.deadline import in_time, wait_until
from tests.stored_runs import artifact, leave_pictures_blank, runs
from tests.warm_processes import WarmProcess, run_code, run_module

QUICK = ("--epochs", 2, "--fine-tune-epochs", 1, "--batch-size", 32)
DECAY = 0.02  # a weight decay that is not the default epsilon


@pytest.fixture
def prune(run_command, tiny_npz, store_uri):
    def run(*arguments, code=0):
        result = run_command("prune", "--dataset", tiny_npz, "--control", "none", *QUICK, *arguments)
        assert result.exit_code == code, result.output
        return result.output

    return run


@contextmanager
def experiment(name, session_store, tiny, folder):
    """Make an experiment and a folder with the data current, and yield a function that prunes there."""
    np.savez(folder / "tiny.npz", **tiny)

    def run(*arguments):
        typed = ("prune", "--dataset", folder / "tiny.npz", "--control", "none", *QUICK, *arguments)
        result = click.testing.CliRunner().invoke(cli, [*map(str, typed)])
        assert result.exit_code == 0, result.output
        return result.output

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", session_store)
        patch.setenv("MLFLOW_EXPERIMENT_NAME", name)
        patch.chdir(folder)
        leave_pictures_blank(patch)
        yield run


@pytest.fixture(scope="module")
def first_command(session_store, tiny, tmp_path_factory):
    """Return the dense, the pruned and the job run of a command, in an experiment for `shared`."""
    with experiment("shared", session_store, tiny, tmp_path_factory.mktemp("shared")) as run:
        run()
        return runs("dense")[0], runs("pruned")[0], runs("job")[0]


@pytest.fixture
def shared(first_command, store_uri, monkeypatch):
    """Make the experiment of `first_command` current, where `prune` finds its dense network, and return its runs."""
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "shared")
    return first_command


def last_pruned():
    """Return the pruned run that the last command made or found."""
    client = MlflowClient()
    experiments = [client.get_experiment_by_name(os.environ["MLFLOW_EXPERIMENT_NAME"]).experiment_id]
    newest = {"max_results": 1, "order_by": ["attributes.start_time DESC"]}
    (job,) = client.search_runs(experiments, "tags.kind = 'job'", **newest)
    if found := job.data.tags.get("found_run_id"):
        return client.get_run(found)
    made = f"tags.kind = 'pruned' and tags.mlflow.parentRunId = '{job.info.run_id}'"
    (run,) = client.search_runs(experiments, made)
    return run


class TestPrune:
    def test_makes_the_runs_of_the_schema(self, prune, tiny):
        output = prune("--pruner", "up", "--ratio", 4, "--recipe", "resnet-cifar")
        dense, pruned, job = runs("dense")[0], runs("pruned")[0], runs("job")[0]
        assert len(runs()) == 3

        assert dense.info.run_name == "dense s0 lenet5 tiny"
        recalls = {name: value for name, value in dense.data.metrics.items() if name.startswith("recall/")}
        weakest = min(recalls, key=recalls.get)
        assert dense.data.tags["mlflow.note.content"] == (
            f"accuracy {100 * dense.data.metrics['test_accuracy']:.1f} %, weakest class: "
            f"{weakest.removeprefix('recall/')} {100 * recalls[weakest]:.1f} %. lenet5 trained on tiny"
        )
        assert "mlflow.parentRunId" not in dense.data.tags
        params = dense.data.params
        assert (params["dataset"], params["model"], params["recipe"]) == ("tiny", "lenet5", "resnet-cifar")
        assert (params["seed"], params["weight_decay"], params["validation_fraction"]) == ("0", "0.0005", "0.1")
        assert {"config_hash", "engine", "device"} <= dense.data.tags.keys()
        assert dense.data.tags["device"] == "cpu"
        assert {"train_loss", "val_loss", "val_accuracy", "test_accuracy", "test_loss"} <= dense.data.metrics.keys()
        assert [m.step for m in MlflowClient().get_metric_history(dense.info.run_id, "val_loss")] == [1, 2]

        assert pruned.info.run_name == "4x s0 up lenet5 tiny"
        assert pruned.data.tags["mlflow.parentRunId"] == job.info.run_id
        assert pruned.data.tags["dense_run_id"] == dense.info.run_id
        assert (
            pruned.data.params.items()
            >= {
                "pruner": "up",
                "ratio": "4.0",
                "epsilon": "0.0005",
                "gradient_objective": "regularized",
                "dataset_digest": params["dataset_digest"],
            }.items()
        )
        assert pruned.data.metrics["realized_ratio"] == pytest.approx(60_074 / round(60_074 / 4))
        assert pruned.inputs.dataset_inputs[0].dataset.name == "tiny"
        assert pruned.inputs.dataset_inputs[0].dataset.digest == params["dataset_digest"]

        final = {name: value for name, value in pruned.data.metrics.items() if name in job.data.metrics}
        assert final == job.data.metrics
        assert {"test_accuracy", "alpha", "recall/T-shirt/top", "both_right/Shirt"} <= job.data.metrics.keys()
        assert job.data.params["epsilon"] == "auto"
        address = f"#/experiments/{job.info.experiment_id}/runs?workflowType=machine_learning"
        for text in (
            dense.info.run_id,
            pruned.info.run_id,
            "mlflow ui --backend-store-uri sqlite:",
            address,
            "load_model",
        ):
            assert text in output

    def test_metrics_follow_from_the_predictions(self, shared):
        dense, pruned, _ = shared
        loaded = {}
        for run in (dense, pruned):
            with np.load(artifact(run, "predictions.npz")) as arrays:
                loaded[run] = {name: arrays[name] for name in arrays.files}
            label, predicted = loaded[run]["label"], loaded[run]["predicted"]
            assert run.data.metrics["test_accuracy"] == pytest.approx((label == predicted).mean())
            shirt = label == 6
            assert run.data.metrics["recall/Shirt"] == pytest.approx((predicted[shirt] == 6).mean())
            assert run.data.metrics["support/Shirt"] == 20
            assert loaded[run]["top5"].shape == (200, 5)
            assert (loaded[run]["top5"][:, 0] == predicted).all()
            table = pd.read_csv(artifact(run, "per_class.csv"))
            assert list(table.columns) == ["class", "index", "support", "recall", "precision", "f1"]
            assert table["class"][0] == "T-shirt/top"
            confusion = pd.read_csv(artifact(run, "confusion.csv"), index_col=0)
            assert confusion.to_numpy().trace() == (label == predicted).sum()
            assert confusion.loc["Shirt"].sum() == 20
        before, after = (loaded[run]["predicted"] == loaded[run]["label"] for run in (dense, pruned))
        both = (before & after)[loaded[dense]["label"] == 6].mean()
        assert pruned.data.metrics["both_right/Shirt"] == pytest.approx(both)
        recall = [[run.data.metrics[f"recall/{name}"] for name in table["class"]] for run in (dense, pruned)]
        balance = [np.array(part) / np.mean(part) - 1 for part in recall]
        alpha = (balance[0] * balance[1]).sum() / (balance[0] ** 2).sum()
        assert pruned.data.metrics["alpha"] == pytest.approx(alpha)
        balance = [np.array(part) - np.mean(part) for part in recall]
        raw_slope = (balance[0] * balance[1]).sum() / (balance[0] ** 2).sum()
        assert pruned.data.metrics["raw_slope"] == pytest.approx(raw_slope)
        accuracies = [100 * run.data.metrics["test_accuracy"] for run in (dense, pruned)]
        note = pruned.data.tags["mlflow.note.content"]
        assert f"\nAccuracy {accuracies[0]:.1f} -> {accuracies[1]:.1f} %: " in note
        assert "\nThe network is at chance after compression." in note
        assert note.splitlines()[-1].startswith(f"Run {dense.info.run_id}, ")
        worst = max(recall[0][c] - recall[1][c] for c in range(10))
        assert pruned.data.metrics["worst_class_loss"] == pytest.approx(worst)

    @pytest.mark.slow
    @pytest.mark.usefixtures("drawn_pictures")
    def test_artifacts_of_the_schema(self, prune):
        prune("--ratio", 10)
        names = [
            {item.path for item in MlflowClient().list_artifacts(runs(kind)[0].info.run_id)}
            for kind in ("dense", "pruned")
        ]
        shared = {"checkpoint.safetensors", "predictions.npz", "val_predictions.npz", "per_class.csv", "confusion.csv"}
        assert names[0] == shared | {"gradient.safetensors", "confusion.png", "class_characteristics.csv"}
        of_pruned = {"mask.safetensors", "recall_balance.png", "confusion.png", "confusion_change.csv", "flipped.png"}
        assert names[1] == shared | of_pruned
        assert {path.name for path in artifact(runs("job")[0], "").iterdir()} == {"recall_balance.png", "flipped.png"}
        before, after = (
            pd.read_csv(artifact(runs(kind)[0], "confusion.csv"), index_col=0) for kind in ("dense", "pruned")
        )
        change = pd.read_csv(artifact(runs("pruned")[0], "confusion_change.csv"), index_col=0)
        assert (change == after - before).all(axis=None)
        weights = load_file(artifact(runs("pruned")[0], "checkpoint.safetensors"))
        masks = load_file(artifact(runs("pruned")[0], "mask.safetensors"))
        assert sum(int(mask.sum()) for mask in masks.values()) == 4931
        assert all(mask.dtype == torch.bool for mask in masks.values())
        assert all((weights[name][~mask] == 0).all() for name, mask in masks.items())
        gradient = load_file(artifact(runs("dense")[0], "gradient.safetensors"))
        assert gradient.keys() == weights.keys()

    @pytest.mark.slow
    @pytest.mark.usefixtures("drawn_pictures")
    def test_several_ratios_are_pruned_from_one_dense_run(self, prune):
        output = prune("--ratio", "2,10", "--pruner", "gp")
        assert len(runs("dense")) == len(runs("job")) == 1
        (picture,) = [line.removeprefix("the picture: ") for line in output.splitlines() if "the picture" in line]
        assert Path(picture) == artifact(runs("job")[0], "summary.png")
        assert f"engine {runs('pruned')[1].data.tags['engine']}, device cpu" in output
        assert [run.data.params["ratio"] for run in runs("pruned")] == ["2.0", "10.0"]
        marks = ("\nratio 2\n", "\n1. ", "\n2. ", "95 % interval", "\nratio 10\n")
        places = [output.index(mark) for mark in marks]
        assert places == sorted(places)
        assert "on new images" not in output
        summary = pd.read_csv(artifact(runs("job")[0], "summary.csv"))
        assert summary["ratio"].tolist() == [2, 10]
        assert summary["run_id"].tolist() == [run.info.run_id for run in runs("pruned")]
        assert summary["accuracy_before"].tolist() == [runs("dense")[0].data.metrics["test_accuracy"]] * 2
        assert summary["accuracy_after"].tolist() == [run.data.metrics["test_accuracy"] for run in runs("pruned")]
        assert summary["raw_slope"].tolist() == [run.data.metrics["raw_slope"] for run in runs("pruned")]
        job = runs("job")[0]
        assert "test_accuracy" not in job.data.metrics
        assert mlflow.load_table("summary.json", [job.info.run_id])["run_id"].tolist() == summary["run_id"].tolist()
        assert artifact(job, "summary.png").read_bytes().startswith(b"\x89PNG")
        notes = job.data.tags["mlflow.note.content"].splitlines()
        assert [note for note in notes if note.startswith("# ")] == ["# ratio 2", "# ratio 10"]
        assert len([note for note in notes if note.startswith("No control was given")]) == 2

    @pytest.mark.parametrize("pruner", PRUNERS)
    def test_every_pruner_prunes_the_same_dense_network(self, prune, shared, pruner):
        of_channels = PRUNERS[pruner].unit == "channel"  # of which the first layer has one
        prune("--pruner", pruner, *(("--ratio", 1.8) if PRUNERS[pruner].unit != "weight" else ()))
        run = last_pruned()
        assert (run.data.params["pruner"], run.data.tags["dense_run_id"]) == (pruner, shared[0].info.run_id)
        ratio = run.data.metrics["realized_ratio"]
        if pruner == "none":
            assert (run.data.params["ratio"], ratio) == ("1.0", 1.0)
        elif pruner == "up-signed":
            assert 1 <= ratio < 10
        elif of_channels:
            # Of 1, 6, 400 and 120 channels 1, 3, 219 and 66 are kept, of 54, 144, 120 and 84 weights each.
            assert ratio == 60_074 / (1_076 + 54 + 3 * 144 + 219 * 120 + 66 * 84)
        elif PRUNERS[pruner].unit == "filter":
            # 2 of 6 and 7 of 16 filters are kept, with their biases and the 25 pixels that 120 units read of each.
            assert ratio == 60_074 / (2 * 10 + 7 * (2 * 9 + 1) + 7 * 25 * 120 + 120 + 10_164 + 850)
        else:
            assert ratio == pytest.approx(10, abs=0.01)
        assert ("epsilon" in run.data.params) == pruner.startswith("up")
        scored_by_gradient = pruner in ("gp", "up", "up-signed", "up-sum")
        assert run.data.params["gradient_objective"] == ("regularized" if scored_by_gradient else "none")

    @pytest.mark.parametrize(
        "options", [("--schedule", "cubic", "--fine-tune-epochs", 3), ("--start", "initialization")]
    )
    @pytest.mark.usefixtures("shared")
    def test_channels_step_by_step(self, prune, options):
        prune("--pruner", "l2-structured", "--sparsity", 0.4, *options)
        masks = load_file(artifact(last_pruned(), "mask.safetensors"))
        channels = [mask.transpose(0, 1).flatten(1) for mask in masks.values()]
        assert sorted(int(mask.all(1).sum()) for mask in channels) == [1, 4, 72, 240]
        assert sorted(int(mask.any(1).sum()) for mask in channels) == [1, 4, 72, 240]

    def test_channels_are_not_compared_over_all_layers(self, prune):
        output = prune("--pruner", "l1-structured", "--scope", "global", code=2)
        assert "--scope: input channels are compared within their layer" in output
        assert not runs()

    @pytest.mark.attack
    @pytest.mark.parametrize(
        ("options", "error"),
        [
            (("--schedule", "cubic"), "--schedule: the pruner chip prunes only trained networks, in one step"),
            (("--start", "initialization"), "--start: the pruner chip prunes only trained networks, in one step"),
            (("--scope", "global"), "--scope: output channels are compared within their layer"),
            (("--ratio", 1000), "--ratio: 1000 is above 4.24, the largest ratio that leaves a channel in every layer"),
            (("--ratio", "auto"), "--ratio: 10 is above 4.24, the largest ratio that leaves a channel in every layer"),
            (("--ratio", "auto"), "take a smaller one (auto is 10)"),
            (("--sparsity", 0.99), "--sparsity: 0.99 is above 0.7783, the largest sparsity that leaves a channel"),
        ],
    )
    def test_what_the_pruner_chip_cannot_do__is_an_error_of_one_line_before_any_run(self, prune, options, error):
        assert error in prune("--pruner", "chip", *options, code=2)
        assert not runs()

    @pytest.mark.usefixtures("shared")
    def test_filters_are_zeroed_and_found_again(self, prune):
        prune("--pruner", "chip", "--ratio", 1.8)
        run = last_pruned()
        masks, weights = (load_file(artifact(run, name)) for name in ("mask.safetensors", "checkpoint.safetensors"))
        assert {"conv1.bias", "conv2.bias"} <= masks.keys()
        assert not any(weights[name][~mask].any() for name, mask in masks.items())
        prune("--pruner", "chip", "--ratio", 1.8)
        assert last_pruned().info.run_id == run.info.run_id

    @pytest.mark.slow
    def test_same_seed_same_numbers(self, prune):
        prune("--pruner", "rp")
        prune("--pruner", "rp", "--force")
        for kind in ("dense", "pruned"):
            first, second = runs(kind)
            weights = [load_file(artifact(run, "checkpoint.safetensors")) for run in (first, second)]
            assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
            assert artifact(first, "predictions.npz").read_bytes() == artifact(second, "predictions.npz").read_bytes()
            timing = {"duration_seconds", "images_per_second"}
            numbers = [{k: v for k, v in run.data.metrics.items() if k not in timing} for run in (first, second)]
            assert numbers[0] == numbers[1]

    @pytest.mark.slow
    def test_another_seed_other_numbers(self, prune):
        prune("--pruner", "rp")
        prune("--pruner", "rp", "--seed", 1)
        assert len({run.data.metrics["test_loss"] for run in runs("dense")}) == 2
        masks = [load_file(artifact(run, "mask.safetensors"))["fc1.weight"] for run in runs("pruned")]
        assert not torch.equal(*masks)

    def test_load_model_predicts_what_the_run_predicted(self, shared, tiny):
        _, pruned, job = shared
        for run in (pruned, job):
            model = pruning_study.load_model(run.info.run_id)
            images = torch.from_numpy(tiny["test_images"].transpose(0, 3, 1, 2).copy())
            with np.load(artifact(pruned, "predictions.npz")) as arrays:
                assert model(images).argmax(1).tolist() == arrays["predicted"].tolist()
        assert model.classes[8] == "Bag"

    @pytest.mark.usefixtures("shared")
    def test_prunes_the_output_layer_where_asked(self, prune):
        prune("--prune-output-layer", "true")
        assert "fc3.weight" in load_file(artifact(last_pruned(), "mask.safetensors"))

    @pytest.mark.slow
    def test_gradient_options_change_the_mask(self, prune):
        options = [(), ("--gradient-objective", "data"), ("--gradient-batches", 1), ("--gradient-mode", "train")]
        for option in options:
            network = ("--model", "resnet20", "--engine", "torch", "--image-size", 10, "--weight-decay", 0.05)
            prune("--pruner", "gp", "--epochs", 1, "--fine-tune-epochs", 0, *network, *option)
        masks = [load_file(artifact(run, "mask.safetensors")) for run in runs("pruned")]
        assert len({torch.cat([part.flatten() for part in mask.values()]).numpy().tobytes() for mask in masks}) == 4

    def test_released_protocol(self, prune):
        prune("--protocol", "released", "--pruner", "up", "--recipe", "resnet-cifar")
        params = runs("pruned")[0].data.params
        assert params["protocol"] == "released"
        assert params["pruner"] == "up-signed"
        assert (params["epsilon"], params["weight_decay"]) == ("0.0005", "0.0")
        history = [m.value for m in MlflowClient().get_metric_history(runs("dense")[0].info.run_id, "val_loss")]
        assert len(history) == 2
        assert (params["gradient_objective"], params["gradient_batches"], params["gradient_mode"]) == (
            "data",
            "1",
            "train",
        )

    @pytest.mark.usefixtures("shared")
    def test_a_gradual_run_is_like_any_other(self, prune):
        prune("--schedule", "cubic", "--ramp-steps", 4, "--ratio", 20, "--fine-tune-epochs", 2)
        run = last_pruned()
        assert run.info.run_name == "20x s0 mp cubic lenet5 tiny"
        assert run.data.params.items() >= {
            ("schedule", "cubic"), ("ramp", "0.5"), ("ramp_steps", "4"), ("regrow", "false"), ("distill", "0.0")
        }  # fmt: skip
        assert "temperature" not in run.data.params
        assert run.data.metrics["realized_ratio"] == pytest.approx(20, abs=0.01)
        weights, masks = (load_file(artifact(run, f"{name}.safetensors")) for name in ("checkpoint", "mask"))
        assert sum(int(mask.sum()) for mask in masks.values()) == round(60_074 / 20) - 1_076
        assert not any(weights[name][~mask].any() for name, mask in masks.items())

    @pytest.mark.slow
    def test_a_run_that_is_pruned_while_it_is_trained(self, prune):
        """It pairs with the dense run of its seed; where nothing is pruned, its training is that of the dense run."""
        options = ("--start", "initialization", "--engine", "torch", "--epochs", 2)
        prune(*options, "--pruner", "none")
        prune(*options, "--begin", 1, "--end", 3, "--frequency", 1, "--ratio", "1,10")
        (dense,), pruned = runs("dense"), runs("pruned")
        assert {run.data.tags["dense_run_id"] for run in pruned} == {dense.info.run_id}
        by_name = {run.info.run_name: run for run in pruned}
        run = by_name.pop("10x s0 mp initialization lenet5 tiny")
        assert by_name.keys() == {f"1x s0 {name} initialization lenet5 tiny" for name in ("mp", "none")}
        for unpruned in by_name.values():
            assert unpruned.data.metrics["test_loss"] == dense.data.metrics["test_loss"]
        assert run.data.metrics["realized_ratio"] == pytest.approx(10, rel=1e-3)
        assert run.data.params.items() >= {"start": "initialization", "begin": "1", "end": "3"}.items()
        assert "fine_tune_epochs" not in run.data.params

    @pytest.mark.usefixtures("shared")
    def test_pruning_at_initialization_is_at_step_0(self, prune):
        """Magnitudes of the initial weights choose; those weights never train."""
        prune("--start", "initialization", "--begin", 0, "--end", 0, "--ratio", 10)
        run = last_pruned()
        assert run.data.metrics["realized_ratio"] == pytest.approx(10, rel=1e-3)
        weights, masks = (load_file(artifact(run, f"{name}.safetensors")) for name in ("checkpoint", "mask"))
        assert not any(weights[name][~mask].any() for name, mask in masks.items())

    @pytest.mark.usefixtures("shared")
    @pytest.mark.parametrize("schedule", ["set", "rigl"])
    def test_a_network_that_is_sparse_from_the_start_always_keeps_as_many_weights(self, prune, schedule):
        prune("--schedule", schedule, "--epochs", 2, "--frequency", 1, "--ratio", 10)
        run = last_pruned()
        expected = {"schedule": schedule, "start": "initialization", "begin": "0", "frequency": "1"}
        assert run.data.params.items() >= expected.items()
        assert "regrow" not in run.data.params
        assert run.data.metrics["realized_ratio"] == pytest.approx(10, rel=1e-3)
        weights, masks = (load_file(artifact(run, f"{name}.safetensors")) for name in ("checkpoint", "mask"))
        assert not any(weights[name][~mask].any() for name, mask in masks.items())
        shares = {name: mask.double().mean().item() for name, mask in masks.items()}
        assert max(shares, key=shares.get) == "conv1.weight"  # the smallest layer keeps most

    @pytest.mark.slow
    def test_layers_of_a_wide_resnet_are_pruned_alike_while_it_is_trained(self, run_command, store_uri, tmp_path):
        """All convolutions, shortcuts included, but neither batch normalization nor the last layer."""
        random = np.random.default_rng(0)
        images = {f"{part}_images": random.integers(0, 256, (20, 12, 12, 3), np.uint8) for part in ("train", "test")}
        np.savez(tmp_path / "made.npz", **images, **{f"{part}_labels": np.arange(20) % 2 for part in ("train", "test")})
        options = ("--model", "wrn16-4", "--start", "initialization", "--scope", "layer", "--ratio", 4)
        result = run_command("prune", "--dataset", tmp_path / "made.npz", *options, "--epochs", 1, "--batch-size", 4)
        assert result.exit_code == 0, result.output
        (run,) = runs("pruned")
        assert run.data.params["recipe"] == "wide-resnet"
        masks = load_file(artifact(run, "mask.safetensors"))
        blocks = [f"layer{stage}.{block}.conv{number}" for stage in (1, 2, 3) for block in (0, 1) for number in (1, 2)]
        assert masks.keys() == {
            f"{name}.weight" for name in ("conv1", *blocks, *(f"layer{stage}.0.shortcut" for stage in (1, 2, 3)))
        }
        shares = [mask.double().mean().item() for mask in masks.values()]
        assert max(shares) - min(shares) < 1 / min(mask.numel() for mask in masks.values())
        assert run.data.metrics["realized_ratio"] == pytest.approx(4, rel=1e-4)

    def test_initial_weights_of_a_network_that_was_trained_elsewhere_are_not_known(
        self, shared, prune, run_command, tiny_npz, monkeypatch, request
    ):
        weights = artifact(shared[0], "checkpoint.safetensors")
        monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", request.node.name)
        trained = run_command("train", "--dataset", tiny_npz, "--weights", weights)
        assert trained.exit_code == 0
        assert re.search(r"recall +recall\n", trained.output)  # likely
        assert "It is a guess: in results/risk" in " ".join(trained.output.split())
        (given,) = runs("dense")
        output = prune("--dense-run-id", given.info.run_id, "--start", "initialization", code=2)
        assert "its initial weights are not known" in output

    @pytest.mark.slow
    def test_a_distilled_run_is_another_than_one_without(self, prune):
        for option in ((), ("--distill", 0.5)):
            prune(*option)
        params = [run.data.params for run in runs("pruned")]
        assert [param["distill"] for param in params] == ["0.0", "0.5"]
        assert [param.get("temperature") for param in params] == [None, "2.0"]
        assert {param["schedule"] for param in params} == {"one-shot"}
        assert len({run.data.metrics["test_loss"] for run in runs("pruned")}) == 2

    @pytest.mark.slow
    def test_none_is_distilled_and_has_no_schedule(self, prune):
        prune("--pruner", "none")
        prune("--pruner", "none", "--schedule", "cubic")
        prune("--pruner", "none", "--distill", 1)
        assert [(run.data.params["schedule"], run.data.params["distill"]) for run in runs("pruned")] == [
            ("one-shot", "0.0"),
            ("one-shot", "1.0"),
        ]

    @pytest.mark.parametrize("engine", ["torch", "native"])
    def test_no_fine_tuning_leaves_the_dense_weights_as_pruned(self, prune, engine):
        prune("--fine-tune-epochs", 0, "--ratio", 4, "--engine", engine)
        (dense,), (pruned,) = runs("dense"), runs("pruned")
        weights = load_file(artifact(dense, "checkpoint.safetensors"))
        mask = load_file(artifact(pruned, "mask.safetensors"))
        for name, tensor in load_file(artifact(pruned, "checkpoint.safetensors")).items():
            assert torch.equal(tensor, weights[name] * mask[name] if name in mask else weights[name])
        assert pruned.data.params["fine_tune_epochs"] == "0"
        assert {"fine_tune_phases", "fine_tune_learning_rate"}.isdisjoint(pruned.data.params)
        assert {"best_epoch", "images_per_second", "val_loss"}.isdisjoint(pruned.data.metrics)
        assert pruned.data.metrics["realized_ratio"] == pytest.approx(4, abs=1e-3)
        assert "fine-tuned" not in pruned.data.tags["mlflow.note.content"]

    @pytest.mark.usefixtures("shared")
    def test_a_ramp_of_0_is_one_shot_and_takes_no_fine_tuning(self, prune):
        prune("--schedule", "cubic", "--ramp", 0, "--fine-tune-epochs", 0)
        pruned = last_pruned()
        assert (pruned.data.params["schedule"], pruned.data.params["fine_tune_epochs"]) == ("one-shot", "0")

    def test_none_without_fine_tuning_is_the_dense_network(self, shared, prune):
        prune("--pruner", "none", "--fine-tune-epochs", 0)
        dense, pruned = shared[0], last_pruned()
        recalls = [name for name in dense.data.metrics if name.startswith("recall/")]
        assert recalls
        assert all(dense.data.metrics[name] == pruned.data.metrics[name] for name in recalls)
        assert pruned.data.metrics["alpha"] == pytest.approx(1, rel=1e-12)

    def test_networks_at_chance_are_named(self, prune):
        output = prune("--learning-rate", "1e-9", "--fine-tune-learning-rate", "1e-9", "--ratio", 4)
        assert "alpha means nothing for networks at chance: the dense network, ratio 4" in output

    def test_released_budget(self, prune):
        prune("--protocol", "released", "--pruner", "mp", "--ratio", 50)
        assert runs("pruned")[0].data.metrics["realized_ratio"] == pytest.approx(60_074 / (1_076 + 350))


@pytest.fixture(scope="module")
def computed(session_store, tiny, tmp_path_factory):
    """What a command says, and its dense and its pruned run."""
    options = ("--pruner", "up", "--ratio", 4, "--weight-decay", DECAY, "--fine-tune-learning-rate", 0.003)
    with experiment("recomputed", session_store, tiny, tmp_path_factory.mktemp("recomputed")) as run:
        output = run(*options, "--seed", 2)
        return output, runs("dense")[0], runs("pruned")[0]


class TestRecomputed:
    """One run's numbers from its artifacts alone."""

    def images(self, run, tiny, part):
        mean, std = (json.loads(run.data.tags[f"normalization_{name}"]) for name in ("mean", "std"))
        # In single precision as in training: in double, ties in the pools would be broken otherwise.
        return (torch.tensor(tiny[f"{part}_images"].transpose(0, 3, 1, 2)) / 255 - mean[0]) / std[0]

    def network(self, run):
        model = models.build("lenet5", num_classes=10, in_channels=1, image_size=(28, 28))
        model.load_state_dict(load_file(artifact(run, "checkpoint.safetensors")))
        return model

    def test_gradient_score_and_mask(self, computed, tiny):
        _, dense, pruned = computed
        model = self.network(dense)
        train, _ = labels.split(tiny["train_labels"], 0.1, 2)
        images = self.images(dense, tiny, "train")[train]
        F.cross_entropy(model(images), torch.tensor(tiny["train_labels"][train])).backward()
        gradient = load_file(artifact(dense, "gradient.safetensors"))
        for name, parameter in model.named_parameters():
            assert (gradient[name] - parameter.grad).norm() < 1e-4 * parameter.grad.norm()
        names = ["conv1.weight", "conv2.weight", "fc1.weight", "fc2.weight"]
        # With the regularised gradient and epsilon = lambda UP is |theta g|.
        score = torch.cat([(model.get_parameter(name) * gradient[name]).abs().flatten() for name in names])
        mask = torch.cat([load_file(artifact(pruned, "mask.safetensors"))[name].flatten() for name in names])
        assert mask.sum() == round(60_074 / 4) - 1_076
        assert score[mask].min() >= score[~mask].max() * (1 - 1e-5)
        assert pruned.data.params["epsilon"] == repr(DECAY)

    def test_norms_of_the_gradient_and_what_magnitude_pruning_keeps_too(self, computed):
        _, dense, pruned = computed
        names = ["conv1.weight", "conv2.weight", "fc1.weight", "fc2.weight"]
        theta, g, mask = (
            torch.cat([load_file(artifact(run, f"{file}.safetensors"))[name].flatten() for name in names])
            for run, file in ((dense, "checkpoint"), (dense, "gradient"), (pruned, "mask"))
        )
        norms = {"data_gradient_norm": g, "penalty_gradient_norm": DECAY * theta, "gradient_norm": g + DECAY * theta}
        for name, vector in norms.items():
            assert dense.data.metrics[name] == pytest.approx(vector.square().sum().sqrt().item(), rel=1e-4)
        largest = theta.abs().topk(int(mask.sum())).indices
        assert pruned.data.metrics["mp_overlap"] == pytest.approx(mask[largest].double().mean().item())

    def test_normalisation_is_that_of_the_training_split(self, computed, tiny):
        train, _ = labels.split(tiny["train_labels"], 0.1, 2)
        pixels = tiny["train_images"][train] / 255
        assert json.loads(computed[1].data.tags["normalization_mean"]) == pytest.approx([pixels.mean()])
        assert json.loads(computed[1].data.tags["normalization_std"]) == pytest.approx([pixels.std()])

    def test_validation_predictions_and_val_alpha(self, computed, tiny):
        _, dense, pruned = computed
        _, validation = labels.split(tiny["train_labels"], 0.1, 2)
        balances, accuracies = [], []
        for run in (dense, pruned):
            with np.load(artifact(run, "val_predictions.npz")) as arrays:
                label, predicted = arrays["label"], arrays["predicted"]
            assert label.tolist() == tiny["train_labels"][validation].tolist()
            logits = self.network(run)(self.images(dense, tiny, "train")[validation])
            assert predicted.tolist() == logits.argmax(1).tolist()
            recall = np.array([(predicted[label == c] == c).mean() for c in range(10)])
            accuracies.append((label == predicted).mean())
            balances.append(recall / accuracies[-1] - 1)
        alpha = (balances[0] * balances[1]).sum() / np.square(balances[0]).sum()
        assert pruned.data.metrics["val_alpha"] == pytest.approx(alpha)
        ratio = accuracies[1] / accuracies[0]
        assert pruned.data.metrics["val_raw_slope"] == pytest.approx(alpha * ratio)

    def test_the_largest_excess_loss(self, computed):
        _, dense, pruned = computed
        names = [name for name in dense.data.metrics if name.startswith("recall/")]
        lost = [dense.data.metrics[name] - pruned.data.metrics[name] for name in (*names, "test_accuracy")]
        assert pruned.data.metrics["largest_excess"] == pytest.approx(max(lost[:-1]) - lost[-1])

    def test_its_floor_is_the_mean_maximum_of_the_noise_of_the_test_images(self, computed):
        right = []
        for run in computed[1:]:
            with np.load(artifact(run, "predictions.npz")) as arrays:
                label = arrays["label"]
                right.append((arrays["predicted"] == label).astype(int))
        change = right[1] - right[0]
        deviations = [change[label == c].std(ddof=1) / np.sqrt((label == c).sum()) for c in range(10)]
        maxima = (np.random.default_rng(0).normal(size=(200_000, 10)) * deviations).max(1)
        error = maxima.std() / len(maxima) ** 0.5
        assert computed[2].data.metrics["largest_excess_floor"] == pytest.approx(maxima.mean(), abs=5 * error)

    def test_logged_settings(self, computed):
        _, dense, pruned = computed
        assert (
            pruned.data.params.items()
            >= {
                "fine_tune_phases": "1x0.003",
                "fine_tune_learning_rate": "0.003",
                "phases": "2x0.01",
                "augmentation": "none",
                "image_shape": "1x28x28",
            }.items()
        )
        assert {"phases", "batch_size", "momentum", "augmentation", "epochs"} <= dense.data.params.keys()

    def test_printed_table(self, computed):
        output, dense, pruned = computed
        before, after = (run.data.metrics["recall/Shirt"] for run in (dense, pruned))
        (line,) = [line for line in output.splitlines() if line.strip().startswith("Shirt ") and " to " in line]
        shown = ["Shirt", f"{100 * before:.1f}", f"{100 * after:.1f}", f"{100 * (before - after):.1f}"]
        answers = []
        for run in (dense, pruned):
            with np.load(artifact(run, "predictions.npz")) as arrays:
                answers.append(arrays["predicted"][arrays["label"] == 6] == 6)
        lost, won = (answers[0] & ~answers[1]).sum(), (answers[1] & ~answers[0]).sum()
        low, high = -100 * np.array(change_interval(lost, won, 20))[::-1]
        assert line.split()[:4] == shown
        assert [float(line.split()[place]) for place in (4, 6)] == pytest.approx([low, high], abs=0.051)
        slopes = [f"{pruned.data.metrics[name]:.3f}" for name in ("alpha", "raw_slope")]
        assert f"alpha {slopes[0]}, raw slope {slopes[1]}" in output


class TestFound:
    def test_the_same_command_makes_nothing_and_says_so(self, shared, prune):
        _, pruned, first = shared
        before = {run.info.run_id for run in runs()}
        output = prune()
        (second,) = [run for run in runs() if run.info.run_id not in before]
        assert second.data.tags["kind"] == "job"
        assert output.count("already made; --force makes") == 2
        assert second.data.tags["found_run_id"] == pruned.info.run_id
        assert "found_run_id" not in first.data.tags
        assert second.data.metrics == first.data.metrics

    @pytest.mark.slow
    def test_options_that_change_nothing_are_found(self, prune):
        prune("--pruner", "mp")
        prune("--pruner", "mp", "--gradient-objective", "data", "--epsilon", 3)
        prune("--ramp", 0.3, "--ramp-steps", 2)
        assert len(runs("pruned")) == 1

    @pytest.mark.slow
    def test_force_makes_it_anew(self, prune):
        prune()
        prune("--force", "true")
        assert (len(runs("dense")), len(runs("pruned"))) == (2, 2)
        assert runs("pruned")[1].data.tags["dense_run_id"] == runs("dense")[1].info.run_id

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("name", "fault"),
        [
            ("checkpoint.safetensors", Path.unlink),
            ("checkpoint.safetensors", lambda path: path.write_bytes(b"x" * 100)),
            ("predictions.npz", lambda path: path.write_bytes(b"x" * 100)),
            ("confusion.png", Path.unlink),
        ],
    )
    def test_a_dense_run_that_does_not_load_is_made_again(self, prune, name, fault, caplog):
        prune()
        fault(artifact(runs("dense")[0], name))
        prune("--pruner", "gp")
        assert len(runs("dense")) == 2
        assert "cannot be used, so an older run is used or a new run is made" in caplog.text
        assert runs("pruned")[1].data.tags["dense_run_id"] == runs("dense")[1].info.run_id

    @pytest.mark.slow
    def test_a_pruned_run_that_lacks_an_artifact_is_made_again(self, prune, caplog):
        prune()
        artifact(runs("pruned")[0], "mask.safetensors").unlink()
        prune()
        assert (len(runs("dense")), len(runs("pruned"))) == (1, 2)
        assert "lacks mask.safetensors" in caplog.text

    @pytest.mark.slow
    def test_changed_data_under_the_same_name_are_other_data(self, prune, tiny, tiny_npz):
        prune()
        images = tiny["train_images"].copy()
        images[0, 0, 0, 0] ^= 255
        np.savez(tiny_npz, **{**tiny, "train_images": images})
        prune()
        assert len(runs("dense")) == 2


class TestDenseRunId:
    @pytest.mark.slow
    def test_starts_from_that_run_and_takes_its_options(self, prune, run_command, tiny_npz):
        prune("--seed", 3)
        dense = runs("dense")[0].info.run_id
        result = run_command(
            "prune", "--dataset", tiny_npz, "--dense-run-id", dense, "--pruner", "gp", "--fine-tune-epochs", 1
        )
        assert result.exit_code == 0, result.output
        assert len(runs("dense")) == 1
        for run in (runs("pruned")[1], runs("job")[1]):
            assert run.data.params.items() >= {"seed": "3", "epochs": "2", "batch_size": "32", "pruner": "gp"}.items()

    @pytest.mark.slow
    def test_takes_the_size_of_its_images_too(self, prune):
        prune("--image-size", 14)
        prune("--pruner", "gp", "--dense-run-id", runs("dense")[0].info.run_id)
        assert runs("pruned")[1].data.params["image_shape"] == "1x14x14"

    @pytest.mark.slow
    def test_its_job_is_named_after_the_model_of_that_run(self, prune):
        quick = ("--engine", "torch", "--epochs", 1, "--fine-tune-epochs", 0)
        prune("--model", "resnet20", "--image-size", 10, "--ratio", 2, *quick)
        prune("--dense-run-id", runs("dense")[0].info.run_id, "--ratio", "2,3", *quick)
        assert runs("job")[1].info.run_name == "prune s0 mp 2,3x resnet20 tiny"

    @pytest.mark.slow
    def test_finds_what_the_options_made(self, prune):
        prune()
        output = prune("--dense-run-id", runs("dense")[0].info.run_id)
        assert len(runs("pruned")) == 1
        assert output.count("already made; --force makes") == 1

    @pytest.mark.slow
    def test_finds_nothing_that_was_pruned_from_another(self, prune):
        prune()
        prune("--force")
        for dense in runs("dense"):
            prune("--dense-run-id", dense.info.run_id)
        assert len(runs("pruned")) == 2
        first = runs("dense")[0].info.run_id
        prune("--pruner", "gp", "--dense-run-id", first)
        assert runs("pruned")[-1].data.tags["dense_run_id"] == first

    def test_an_option_that_says_something_else_is_a_usage_error(self, shared, prune):
        output = prune("--dense-run-id", shared[0].info.run_id, "--seed", 5, code=2)
        assert "5 contradicts dense run" in output

    @pytest.mark.slow
    def test_the_shares_of_classes_are_those_of_the_dense_run(self, prune):
        prune("--class-fractions", "Bag=0.25")
        thinned = runs("dense")[0].info.run_id
        prune("--dense-run-id", thinned)
        assert len(runs("pruned")) == 1
        assert pd.read_csv(artifact(runs("dense")[0], "class_characteristics.csv")).training_images[8] == 9
        prune()
        (whole,) = (run.info.run_id for run in runs("dense") if run.info.run_id != thinned)
        output = prune("--dense-run-id", whole, "--class-fractions", "Bag=0.25", code=2)
        assert f"Bag=0.25 contradicts dense run {whole}, which has none" in output

    def test_no_such_run(self, prune):
        assert "no run 0123" in prune("--dense-run-id", "0123", code=1)

    def test_a_run_of_another_kind(self, shared, prune):
        dense, pruned, _ = shared
        refused = prune("--dense-run-id", pruned.info.run_id, code=2)
        assert f"not a finished dense run (kind pruned, FINISHED): its dense run is {dense.info.run_id}" in refused

    def test_other_images(self, shared, run_command):
        result = run_command("prune", "--dense-run-id", shared[0].info.run_id, "--dataset", "fashion-mnist-mini")
        assert result.exit_code != 0
        assert result.output.count("error: ") == 1


class TestSeeds:
    @pytest.mark.slow
    def test_each_is_a_network_and_a_job_of_its_own_and_the_mean_stands_last(self, prune):
        output = prune("--seed", "1,3-4", "--ratio", "2,4", "--epochs", 1)
        assert re.findall(r"^seed (\d)$", output, re.MULTILINE) == ["1", "3", "4"]
        for kind, count in (("dense", 3), ("job", 3), ("pruned", 6)):
            made = runs(kind)
            assert len(made) == count
            assert {run.data.params["seed"] for run in made} == {"1", "3", "4"}
        _, mean = output.split("mean of 3 seeds")
        _, shirt = (line.split() for line in mean.splitlines() if line.strip().startswith("Shirt ") and " to " in line)
        before = np.mean([run.data.metrics["recall/Shirt"] for run in runs("dense")])
        at_4 = [run for run in runs("pruned") if run.data.params["ratio"] == "4.0"]
        after = np.mean([run.data.metrics["recall/Shirt"] for run in at_4])
        assert shirt[1:4] == [f"{100 * value:.1f}" for value in (before, after, before - after)]
        accuracy = np.mean([run.data.metrics["test_accuracy"] for run in runs("dense")])
        assert f"Accuracy {100 * accuracy:.1f} -> " in mean

    def test_one_is_what_it_was(self, computed):
        output, *_ = computed
        assert "mean of" not in output
        assert not output.startswith("\nseed")

    def test_a_dense_run_has_one(self, prune):
        assert "a dense run has one seed" in prune("--seed", "0,1", "--dense-run-id", "x", code=2)


class TestWeights:
    @pytest.fixture
    def weights(self, tmp_path):
        torch.manual_seed(7)
        model = models.build("lenet5", num_classes=10, in_channels=1, image_size=(28, 28))
        save_file(model.state_dict(), tmp_path / "mine.safetensors", {"mean": "[0.5]", "std": "[0.25]"})
        return tmp_path / "mine.safetensors"

    def test_are_the_dense_run_without_training(self, prune, weights):
        prune("--weights", weights)
        dense = runs("dense")[0]
        assert "train_loss" not in dense.data.metrics
        given, logged = load_file(weights), load_file(artifact(dense, "checkpoint.safetensors"))
        assert all(torch.equal(given[name], logged[name]) for name in given)
        assert json.loads(dense.data.tags["normalization_mean"]) == [0.5]
        assert pruning_study.load_model(dense.info.run_id).normalization == ([0.5], [0.25])

    @pytest.mark.slow
    def test_are_known_by_their_content(self, prune, weights, tmp_path):
        prune("--weights", weights)
        copied = tmp_path / "copy.safetensors"
        copied.write_bytes(weights.read_bytes())
        prune("--weights", copied)
        assert len(runs("dense")) == 1
        state = load_file(weights)
        state["fc3.bias"][0] += 1
        save_file(state, weights)
        prune("--weights", weights)
        assert len(runs("dense")) == 2

    def test_are_one_network_whatever_the_seeds(self, prune, weights):
        output = " ".join(prune("--weights", weights, "--seed", "0,1").split())
        assert output.count(SAME_NETWORK) == 1
        assert SAME_NETWORK in output.partition("mean of 2 seeds")[2]
        assert "--seed 0-4" not in output

    def test_that_do_not_fit_are_one_line(self, prune, tmp_path):
        save_file({"conv1.weight": torch.zeros(2)}, tmp_path / "bad.safetensors")
        assert "bad.safetensors" in prune("--weights", tmp_path / "bad.safetensors", code=1)
        assert "gone.safetensors: no such file exists" in prune("--weights", "gone.safetensors", code=2)
        save_file({}, tmp_path / "empty.safetensors")
        assert "Missing key" in prune("--weights", tmp_path / "empty.safetensors", code=1)
        assert runs() == []

    def test_that_give_no_numbers_fail(self, prune, weights):
        save_file({name: 1e20 * tensor for name, tensor in load_file(weights).items()}, weights)
        assert "is NaN or infinite" in prune("--weights", weights, code=1)
        assert sorted(run.data.tags["kind"] for run in runs(status="FAILED")) == ["dense", "job"]


@pytest.mark.slow
def test_a_network_of_torchvision_is_taken_with_its_weights_pruned_and_loaded(prune, tiny, tmp_path):
    torch.manual_seed(1)
    network = models.build("torchvision:squeezenet1_1", num_classes=10, in_channels=1, image_size=(28, 28))
    save_file(
        {f"module.{name}": tensor for name, tensor in network.state_dict().items()}, tmp_path / "mine.safetensors"
    )
    options = ("--model", "torchvision:squeezenet1_1", "--weights", tmp_path / "mine.safetensors")
    output = prune(*options, "--fine-tune-epochs", 0, "--ratio", 2)
    dense = runs("dense")[0]
    assert f'load_model("{runs("pruned")[0].info.run_id}")' in output
    assert dense.data.params["model"] == "torchvision:squeezenet1_1"
    assert "model_digest" not in dense.data.params
    images = torch.from_numpy(tiny["test_images"].transpose(0, 3, 1, 2).copy())
    loaded = pruning_study.load_model(dense.info.run_id)
    with np.load(artifact(dense, "predictions.npz")) as arrays:
        assert loaded(images).argmax(1).tolist() == arrays["predicted"].tolist()
    assert all(torch.equal(tensor, network.state_dict()[name]) for name, tensor in loaded.network.state_dict().items())


OWN_MODEL = """
import torch.nn as nn

class Net(nn.Module):
    def __init__(self, num_classes, in_channels):
        super().__init__()
        self.conv, self.fc, self.out = nn.Conv2d(in_channels, 4, 5), nn.Linear(2304, 12), nn.Linear(12, num_classes)
        self.unused = nn.Linear(3, 3)
        self.out = nn.Linear(12, num_classes)

    def forward(self, x):
        x = nn.functional.dropout(self.conv(x).relu(), 0.2, self.training)
        return self.out(self.fc(x.view(x.size(0), -1)).relu())
"""


class TestOwnModel:
    """Dropout, `view`, a layer that the loss does not reach, class names that pictures could take for formulas."""

    @pytest.fixture
    def own(self, run_command, tiny, tmp_path, store_uri, monkeypatch):
        (tmp_path / "my_net.py").write_text(OWN_MODEL)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "my_net", raising=False)
        names = ["$x$", "$\\mathrm{$", "a|b", "<b>", "été", "..", "a/b", "a b", "?", "!"]
        np.savez(tmp_path / "odd.npz", **{**tiny, "class_names": np.array(names)})

        def run(*arguments, code=0):
            result = run_command(
                "prune",
                "--dataset",
                tmp_path / "odd.npz",
                "--model",
                "my_net:Net",
                "--control",
                "none",
                *QUICK,
                *arguments,
            )
            assert result.exit_code == code, result.output
            return result.output

        return run

    @pytest.mark.usefixtures("drawn_pictures")
    def test_is_trained_pruned_and_loaded_the_same_each_time(self, own, tiny, monkeypatch):
        own("--ratio", 3)
        leave_pictures_blank(monkeypatch)  # they were drawn once
        own("--ratio", 3, "--force")
        first, second = runs("pruned")
        assert first.data.metrics["test_loss"] == second.data.metrics["test_loss"]
        assert {"recall/$x$", "recall/_x_"} & first.data.metrics.keys() == {"recall/_x_"}
        model = pruning_study.load_model(first.info.run_id, model="my_net:Net")
        images = torch.from_numpy(tiny["test_images"].transpose(0, 3, 1, 2).copy())
        with np.load(artifact(first, "predictions.npz")) as arrays:
            assert model(images).argmax(1).tolist() == arrays["predicted"].tolist()
        assert first.data.params["recipe"] == "lenet5"

    @pytest.mark.slow
    def test_that_has_changed_is_another_model(self, own, tmp_path, monkeypatch):
        own("--ratio", 3)
        dense = runs("dense")[0].info.run_id
        (tmp_path / "my_net.py").write_text(OWN_MODEL.replace("relu", "tanh"))
        monkeypatch.delitem(sys.modules, "my_net")
        importlib.invalidate_caches()
        assert "source of my_net:Net has changed" in own("--ratio", 3, "--dense-run-id", dense, code=1)
        own("--ratio", 3)
        assert len(runs("dense")) == 2


class TestBadInput:
    @pytest.mark.parametrize(
        ("arguments", "code", "message"),
        [
            (("--ratio", "100"), 2, "largest attainable ratio is 55.8"),
            (("--model", "lenet"), 2, "did you mean lenet5"),
            (("--model", "no_such:thing"), 2, "cannot be imported"),
            (("--image-size", "5"), 1, "at least 10x10"),
            (("--device", "cuda"), 2, "no CUDA device"),
            (("--schedule", "cubik"), 2, "did you mean cubic?"),
            (("--schedule", "cubic", "--ramp", "1.5"), 2, "1.5 must be at least 0 and below 1"),
            (
                ("--schedule", "cubic", "--ramp", "0.9"),
                2,
                "0.9 ends the ramp",
            ),
            (("--schedule", "cubic", "--ramp-steps", "13"), 2, "13 is above 12, the number of batches of an epoch"),
            (("--schedule", "cubic", "--fine-tune-epochs", "0"), 2, "no fine-tuning, which gradual pruning needs"),
            (("--distill", "0.5", "--fine-tune-epochs", "0"), 2, "no fine-tuning, which distillation needs"),
            (("--distill", "1.1"), 2, "1.1 must be at least 0 and at most 1"),
            (("--distill", "-0.1"), 2, "-0.1 must be at least 0 and at most 1"),
            (("--distill", "2"), 2, "2 must be at least 0"),
        ],
    )
    def test_is_one_line_before_any_run_is_made(self, prune, arguments, code, message):
        if arguments == ("--device", "cuda") and torch.cuda.is_available():
            arguments, message = ("--device", "tpu"), "it takes cpu"
        output = prune(*arguments, code=code)
        assert message in output
        assert "Traceback" not in output
        assert runs() == runs(status="RUNNING") == runs(status="FAILED") == []

    def test_a_seed_of_no_study_to_verify(self, run_command):
        result = run_command("verify", "--seed", 3)
        assert result.exit_code == 2
        assert "--seed: only the networks of a study have seeds to choose from: name a STUDY" in result.output

    def test_unknown_data_set(self, run_command, store_uri):
        result = run_command("train", "--dataset", "fashion-mnist-mni")
        assert result.exit_code == 2
        assert "did you mean fashion-mnist-mini" in result.output

    def test_divergence_ends_the_runs_as_failed(self, prune):
        output = prune("--learning-rate", "1e30", code=1)
        assert "dense diverged in epoch 1" in output
        failed = runs(status="FAILED")
        assert sorted(run.data.tags["kind"] for run in failed) == ["dense", "job"]
        assert all("diverged" in run.data.tags["error"] for run in failed)
        assert runs(status="RUNNING") == []

    def test_a_server_that_does_not_answer(self, run_command, tiny_npz, monkeypatch, store_uri):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES")
        with in_time():
            result = run_command("train", "--dataset", tiny_npz)
        assert result.exit_code == 1
        assert "http://127.0.0.1:9 does not answer" in result.output

    def test_a_store_that_is_no_database(self, run_command, tiny_npz, tmp_path, monkeypatch, store_uri):
        (tmp_path / "notes.db").write_text("hello " * 1000)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/notes.db")
        result = run_command("train", "--dataset", tiny_npz)
        assert result.exit_code == 1
        assert "file is not a database" in result.output

    def test_a_job_that_is_not_in_the_store(self, prune, monkeypatch):
        monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
        assert "make it absolute" in prune(code=1)


@pytest.mark.slow
def test_ctrl_c_ends_the_runs_as_killed(store_uri, tmp_path):
    process = WarmProcess(run_module, "pruning_study", "train", "--epochs", 5000)
    wait_until(lambda: runs("dense", status="RUNNING"), process)
    process.send_signal(signal.SIGINT)
    said = process.wait()
    assert process.returncode == 1
    assert "Traceback" not in said
    statuses = [(run.data.tags["kind"], run.info.status, run.data.tags.get("error")) for run in runs(status=None)]
    assert sorted(statuses) == [("dense", "KILLED", "interrupted"), ("job", "KILLED", "interrupted")], said


@pytest.mark.slow
def test_a_killed_training_goes_on_where_it_was(run_command, store_uri, tiny_npz, caplog):
    typed = ["train", "--dataset", str(tiny_npz), "--epochs", "300"]
    code = (
        "from pruning_study import __main__; from pruning_study.training import loop;"
        "loop.SAVE_SECONDS = 0; __main__.main()"
    )
    process = WarmProcess(run_code, code, *typed)
    saved = Path(store_uri.removeprefix("sqlite:///")).parent
    wait_until(lambda: list(saved.glob("*.locks/*.safetensors")), process)
    process.kill()
    process.wait()
    with caplog.at_level("INFO"):
        run_command(*typed)
    assert "continues after epoch" in caplog.text
    run_command(*typed, "--force")
    resumed, undisturbed = runs("dense")
    assert resumed.data.params == undisturbed.data.params
    history = [MlflowClient().get_metric_history(run.info.run_id, "val_loss") for run in (resumed, undisturbed)]
    assert [[(m.step, m.value) for m in of_run] for of_run in history] == [
        [(step, metric.value) for step, metric in enumerate(history[1], start=1)]
    ] * 2
    weights = [load_file(artifact(run, "checkpoint.safetensors")) for run in (resumed, undisturbed)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[1])
    assert not list(saved.glob("*.locks/*.safetensors"))


def test_help_answers_without_torch_or_mlflow():
    code = (
        "import sys; from pruning_study.__main__ import cli; cli(['prune', '--help'], standalone_mode=False);"
        "print([name for name in ('torch', 'mlflow', 'pandas', 'matplotlib') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.endswith("[]\n")
    assert "--fine-tune-learning-rate" in result.stdout


def test_version(run_command):
    assert run_command("--version").output.strip().endswith(pruning_study.__version__)


@pytest.mark.slow
@pytest.mark.attack
@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.usefixtures("drawn_pictures")
def test_class_names_that_are_formulas_markup_and_links__are_the_same_in_all_files_of_a_run(
    run_command, tiny, store_uri, tmp_path
):
    classes = ["=1+1", "'=1+1", "@a", "|b`", "<script>", "[x](http://a.b)", "$\\frac{", "a,b", "-1", "猫"]
    path = tmp_path / "=*x*_[a](b)-.npz"
    np.savez(path, **(tiny | {"class_names": np.array(classes)}))
    options = ("--dataset", path, *QUICK, "--ratio", "2,4")
    result = run_command("prune", *options)
    assert result.exit_code == 0, result.output
    assert all(name in result.output for name in classes)

    (dense,), pruned = runs("dense"), runs("pruned")[0]
    with artifact(pruned, "per_class.csv").open(newline="") as file:
        assert [row["class"] for row in csv.DictReader(file)] == ["'=1+1", "''=1+1", "'@a", *classes[3:]]
    with artifact(pruned, "confusion.csv").open(newline="") as file:
        assert next(csv.reader(file)) == ["class", "'=1+1", "''=1+1", "'@a", *classes[3:]]
    after = audit.audit([str(artifact(dense, "predictions.npz"))], [str(artifact(pruned, "predictions.npz"))])
    assert set(after.table["class"]) == set(classes)
    note = dense.data.tags["mlflow.note.content"]
    assert note.endswith(r" %. lenet5 trained on =\*x\*-[a\](b)-")
    assert "<script>" not in note
