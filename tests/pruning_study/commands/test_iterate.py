"""The command `iterate`, and studies of chains, from end to end on small real data."""

import pandas as pd
import pytest
from safetensors.torch import save_file

from pruning_study import models
from pruning_study.commands.iterate import each_iterated
from pruning_study.commands.pruning_text import SAME_NETWORK
from pruning_study.options.config import IterateConfig
from pruning_study.steps import pictures
from pruning_study.steps.runs import FinishedRun
from tests.stored_runs import artifact, runs

OPTIONS = ("--epochs", 1, "--iterations", 3, "--engine", "torch")
SUMMARY_PICTURE = pictures.over_iterations  # before `store_uri` leaves pictures blank


@pytest.fixture
def iterate(run_command, tiny_npz, store_uri):
    def run(*arguments, code=0):
        result = run_command("iterate", "--dataset", tiny_npz, *OPTIONS, *arguments)
        assert result.exit_code == code, result.output
        return result.output

    return run


def test_a_line_for_each_iteration_and_a_job_with_their_summary(iterate, monkeypatch):
    monkeypatch.setattr(pictures, "over_iterations", SUMMARY_PICTURE)  # the one picture that is drawn here
    output = iterate("--pruner", "l1-unstructured")
    _, why, table = output.split("\n\n")[:3]
    assert "--recipe prune-responsibly" in " ".join(why.split())
    header, *lines = [line.split() for line in table.splitlines()[:4]]
    assert header[:4] == ["iteration", "sparsity", "ratio", "accuracy"]
    assert [line[0] for line in lines] == ["0", "1", "2"]
    assert [float(line[1]) for line in lines] == pytest.approx([0, 0.2, 0.36], abs=1e-3)
    dense, (job,) = runs("dense"), runs("job")
    assert [run.info.run_id in output for run in (*dense, *runs("pruned"))] == [True, False, True]
    table = pd.read_csv(artifact(job, "summary.csv"))
    assert table["iteration"].tolist() == [1, 2]
    assert table["run_id"].tolist() == [run.info.run_id for run in runs("pruned")]
    assert job.data.tags["pruned_run_ids"] == ",".join(table["run_id"])
    assert artifact(job, "summary.png").exists()


def test_seeds_that_prune_one_given_network_are_said_to(iterate, tmp_path):
    model = models.build("lenet5", num_classes=10, in_channels=1, image_size=(28, 28))
    save_file(model.state_dict(), tmp_path / "mine.safetensors")
    options = ("--weights", tmp_path / "mine.safetensors", "--weight-treatment", "finetune", "--iterations", 2)
    assert SAME_NETWORK in " ".join(iterate(*options, "--seed", "0,1").split())
    assert SAME_NETWORK not in " ".join(iterate(*options).split())


def test_iterations_at_chance_are_named(iterate):
    output = iterate("--learning-rate", "1e-9")
    assert "alpha means nothing for networks at chance: the dense network, iteration 1, iteration 2\n" in output


@pytest.mark.slow
def test_a_study_makes_the_chains_that_iterate_finds(iterate, run_command, tiny_npz, tmp_path):
    study = tmp_path / "chains.yaml"
    study.write_text(
        f"{{dataset: [{tiny_npz}], pruner: [l1-structured, none], iterations: 3, weight_treatment: [rewind], "
        "seed: [0], epochs: 1}"
    )
    command = ("study", study, "--workers", 1, "--engine", "torch")
    shown = run_command(*command, "--dry-run").output
    assert "l1-structured rewind" in shown
    assert "3 iterations" in shown
    made = run_command(*command)
    assert made.exit_code == 0, made.output
    assert len(runs("dense")) == 1
    assert len(runs("pruned")) == 4
    assert "5 runs: 5 found, 0 to make" in run_command(*command).output
    assert "3 of 3 runs were already made" in iterate("--pruner", "l1-structured", "--weight-treatment", "rewind")
    assert len(runs("pruned")) == 4


def test_the_job_of_a_named_dense_run_has_its_seed_and_found_only_what_was_pruned(iterate):
    iterate("--seed", 2)
    assert "2 of 3 runs were already made" in iterate("--dense-run-id", runs("dense")[0].info.run_id)
    assert [job.data.params["seed"] for job in runs("job")] == ["2", "2"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--weights", "some.safetensors", "--weight-treatment", "rewind"),
            "--weights: the values from which given weights",
        ),
        (("--seed", "0-1", "--dense-run-id", "some"), "--seed: a dense run has one seed"),
        (("--keep", "0.01", "--pruner", "mp", "--iterations", "20"), "--keep: 0.01 leaves fewer than 4 weights"),
        (("--rewind-step", "5"), "--rewind-step: it applies only with --weight-treatment rewind"),
        (("--rewind-step", "11", "--weight-treatment", "rewind"), "--rewind-step: step 11 is beyond the training"),
        (("--ratio", "2"), "No such option"),
        (("--iterations", "1"), "1 is below 2"),
    ],
)
def test_bad_input_is_one_line_and_makes_no_run(iterate, arguments, message):
    output = iterate(*arguments, code=2)
    assert message in output
    assert not runs(status=None)


def test_no_network_of_a_level_stays_in_memory(tiny_npz, store_uri):
    config = IterateConfig(dataset=str(tiny_npz), epochs=1, iterations=3, engine="torch")
    (result,) = each_iterated([config], {})
    assert [type(level) for level in result.levels.values()] == [FinishedRun] * 2


def test_options_without_effect_are_named(iterate):
    output = iterate("--pruner", "rp", "--epsilon", "0.1", "--iterations", "2")
    assert "--epsilon has no effect with --pruner rp" in output
