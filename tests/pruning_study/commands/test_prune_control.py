"""The control that `prune` makes: one for all, never in the way of the pruned run, and what is logged beyond it."""

import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

import pruning_study
from analysis import audit_predictions
from analysis.common.errors import StudyError
from analysis.compare import sentences
from pruning_study.commands.pruning_table import Beyond, Cause, offset_lines, pruning_table, reading, what_is_shown
from pruning_study.steps import pictures
from pruning_study.steps.class_changes import class_changes
from pruning_study.steps.controls import LargestCost, largest_cost
from pruning_study.tracking.connect import connect
from pruning_study.training.evaluation import Predictions
from tests.deadline import wait_until
from tests.mlflow_server import losing
from tests.plans import train_with_batches_in_another_order
from tests.stored_runs import artifact, runs
from tests.warm_processes import WarmProcess, run_module

QUICK = ("--epochs", 1, "--fine-tune-epochs", 1, "--batch-size", 32)
CLASSES = ("cat", "dog")


@pytest.fixture
def prune(run_command, tiny_npz, store_uri):
    def run(*arguments, code=0):
        result = run_command("prune", "--dataset", tiny_npz, *QUICK, *arguments)
        assert result.exit_code == code, result.output
        return result.output

    return run


def pruners(status="FINISHED"):
    """The pruners of the pruned runs, the oldest first."""
    return [run.data.params.get("pruner") for run in runs("pruned", status=status)]


def network(n_right, images=10):
    """Return predictions of as many right images of each class of CLASSES, out of so many."""
    label = np.repeat([0, 1], images)
    predicted = np.where(np.tile(np.arange(images), 2) < np.repeat(n_right, images), label, 1 - label)
    return Predictions(label, predicted, predicted[:, None], np.ones(len(label), np.float32))


def test_one_control_serves_every_ratio_and_pruner_and_is_what_the_pruner_none_makes(prune):
    output = prune("--pruner", "mp", "--ratio", 4)
    assert pruners() == ["mp", "none"]
    assert "control: the same fine-tuning without pruning" in output
    assert "takes about" in output
    for options in (("--pruner", "up", "--ratio", "2,8"), ("--pruner", "mp", "--ratio", 4, "--schedule", "cubic")):
        assert "control: " not in prune(*options, "--ramp", 0)
    assert pruners().count("none") == 1
    output = prune("--pruner", "none")
    assert output.count("(already made; --force makes") == 2
    assert pruners().count("none") == 1
    control = next(run for run in runs("pruned") if run.data.params["pruner"] == "none")
    assert f"pruned run, ratio 1: {control.info.run_id} (already made" in output
    assert runs("dense")[0].data.tags["network"] == "dense"
    for run in runs("pruned"):
        is_pruned = run.info.run_id != control.info.run_id
        assert run.data.tags["network"] == ("pruned" if is_pruned else "control")
        assert (run.data.tags.get("control_run_id") == control.info.run_id) == is_pruned
        assert ("largest_cost" in run.data.metrics) == is_pruned
        assert run.info.status == "FINISHED"
    jobs = runs("job")
    assert jobs[0].data.tags["control_run_id"] == control.info.run_id
    assert jobs[0].data.metrics["largest_cost"] == runs("pruned")[0].data.metrics["largest_cost"]
    assert jobs[0].data.tags["largest_cost_class"] == runs("pruned")[0].data.tags["largest_cost_class"]


def test_a_network_that_is_trained_again_is_pruned_again_and_has_a_control_of_its_own(prune, run_command, tiny_npz):
    """Dense runs that `--force` makes have the same hash, and on some machines other weights."""

    def lineage():
        return [(run.data.params["pruner"], run.data.tags["dense_run_id"]) for run in runs("pruned")]

    prune()
    assert run_command("train", "--dataset", tiny_npz, *QUICK[:2], *QUICK[4:], "--force").exit_code == 0
    first, second = (run.info.run_id for run in runs("dense"))
    for _ in range(2):
        prune()
        assert lineage() == [("mp", first), ("none", first), ("mp", second), ("none", second)]
    prune("--force", "--control", "none")
    third = runs("dense")[-1].info.run_id
    prune()
    assert lineage()[4:] == [("mp", third), ("none", third)]
    *_, job = runs("job")
    assert (job.data.tags["dense_run_id"], job.data.tags["pruned_run_ids"]) == (third, runs("pruned")[4].info.run_id)


def test_the_description_of_a_pruned_run_says_what_the_terminal_says(prune):
    """That of a run without a control compares it with its dense network."""
    prune("--control", "none")
    (run,) = runs("pruned")
    assert "largest excess" in run.data.tags[MLFLOW_RUN_NOTE]
    said = prune()
    pruned, control = runs("pruned")
    note = pruned.data.tags[MLFLOW_RUN_NOTE].splitlines()
    (first,) = (place for place, line in enumerate(note) if "accuracy went from" in line)
    assert any("lost recall through pruning" in line for line in note[first + 1 :])
    for line in note[first : first + 2]:
        assert line.removeprefix("- ") in " ".join(said.split())
    assert note[-1] == f"- Run {runs('dense')[0].info.run_id}, pruned by mp at ratio 10 and fine-tuned"
    assert not any("largest excess" in line for line in note)
    assert "largest excess" in control.data.tags[MLFLOW_RUN_NOTE]


def test_a_damaged_control_is_said_once_and_made_again(prune, caplog):
    prune()
    (_, control) = runs("pruned")
    Path(artifact(control, "predictions.npz")).write_bytes(b"damaged")
    assert "control: the same fine-tuning" in prune()
    assert pruners() == ["mp", "none", "none"]
    assert len([record for record in caplog.records if "cannot be used" in record.getMessage()]) == 1


def test_a_run_of_an_earlier_version_is_given_its_cost_and_is_not_made_again(prune):
    prune("--control", "none")
    (run,) = runs("pruned")
    assert "largest_cost" not in run.data.metrics
    assert prune().count("(already made") == 2
    (again, control) = runs("pruned")
    assert (again.info.run_id, control.data.params["pruner"]) == (run.info.run_id, "none")
    assert again.data.metrics.keys() - run.data.metrics.keys() == {"largest_cost"}
    assert again.data.tags["config_hash"] == run.data.tags["config_hash"]


@pytest.mark.parametrize(
    "options",
    [("--pruner", "none"), ("--fine-tune-epochs", 0), ("--start", "initialization"), ("--control", "none")],
)
def test_no_control_is_made_where_there_is_nothing_to_compare(prune, options):
    options = options if "initialization" not in options else (*options, "--epochs", 2, "--frequency", 1)
    output = prune(*options)
    (run,) = runs("pruned")
    assert "largest_cost" not in run.data.metrics
    assert "control run" not in output
    assert "control_run_id" not in {**run.data.tags, **runs("job")[0].data.tags}


def test_the_function_for_python_makes_none_and_says_who_does(store_uri, tiny_npz):
    quick = {"dataset": tiny_npz, "epochs": 1, "fine_tune_epochs": 1, "batch_size": 32}
    pruning_study.prune(**quick)
    assert pruners() == ["mp"]
    assert runs("job")[0].data.params["control"] == "none"
    with pytest.raises(StudyError, match="only the command pruning-study prune makes a control"):
        pruning_study.prune(**quick, control="make")


def test_a_pruned_network_is_compared_with_the_network_that_was_pruned(store_uri, tiny_npz, monkeypatch):
    quick = {"dataset": tiny_npz, "epochs": 8, "batch_size": 16}
    first = pruning_study.prune(**quick, fine_tune_epochs=1)
    with monkeypatch.context() as patch:
        train_with_batches_in_another_order(patch)
        dense = pruning_study.train(**quick, force=True)
    again = pruning_study.prune(**quick, fine_tune_epochs=1)
    for result in (first, again):
        (row,) = result.runs.to_dict("records")
        pruned, parent = (connect().get(row[name]) for name in ("run_id", "dense_run_id"))
        assert pruned.data.tags["dense_run_id"] == row["dense_run_id"]
        assert row["accuracy_before"] == parent.data.metrics["test_accuracy"]
        classes = [name for name in parent.data.metrics if name.startswith("recall/")]
        balances = [
            np.array([run.data.metrics[name] for name in classes]) - run.data.metrics["test_accuracy"]
            for run in (parent, pruned)
        ]
        assert row["raw_slope"] == pytest.approx(balances[0] @ balances[1] / (balances[0] @ balances[0]))
    assert again.dense_run_id == dense.run_id != first.dense_run_id


@pytest.mark.slow
def test_ctrl_c_loses_the_control_alone_and_the_same_command_goes_on_with_it(run_command, tiny_npz, store_uri):
    typed = ("prune", "--dataset", tiny_npz, "--epochs", 1, "--fine-tune-epochs", 150, "--ratio", 4)
    process = WarmProcess(run_module, "pruning_study", *typed)
    wait_until(lambda: "none" in pruners("RUNNING"), process)
    process.send_signal(signal.SIGINT)
    said = process.wait()
    assert process.returncode == 1
    assert "the pruned run is finished and the control is not; repeat the command to make the control" in " ".join(
        said.split()
    )
    assert "Traceback" not in said
    assert (pruners(), pruners("KILLED")) == (["mp"], ["none"])
    (killed,) = runs("job", status="KILLED")
    assert killed.data.tags["pruned_run_ids"] == runs("pruned")[0].info.run_id
    result = run_command(*typed)
    assert result.exit_code == 0, result.output
    assert result.output.count("(already made") == 2
    assert pruners() == ["mp", "none"]
    assert "largest_cost" in runs("pruned")[0].data.metrics


@pytest.mark.slow
def test_a_server_that_refuses_the_cost_loses_no_run(prune, server_port, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server_port}")
    prune("--control", "none")
    prune("--pruner", "none")
    with losing(server_port, {"log-batch": ["fine", "fine", "forbidden"]}) as (port, asked):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
        output = prune(code=1)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server_port}")
    assert asked["log-batch"] == 3
    assert "403" in output
    assert (pruners(), "largest_cost" in runs("pruned")[0].data.metrics) == (["mp", "none"], False)
    assert prune().count("(already made") == 3
    assert "largest_cost" in runs("pruned")[0].data.metrics


def test_the_class_of_the_largest_cost_is_chosen_on_validation_images_and_read_on_test_images():
    """On validation images dog loses 3 of 10 and cat 1, the accuracy .2: dog costs .1. On test images dog loses 2 of
    10 and cat 6, the accuracy .4: dog costs -.2, and cat, which is not chosen, .2.
    """
    on_test = class_changes(CLASSES, [network([9, 8])], [network([3, 6])], [network([9, 8])])
    found = largest_cost(on_test, control=network([9, 9]), pruned=network([8, 6]))
    assert (found.name, found.cost, found.is_shown) == ("dog", -0.2, False)  # plain subtraction is off by round-off


def test_no_class_is_named_if_none_pays_more_than_another_on_validation_images():
    """The first class was named, although no prediction had changed."""
    on_test = class_changes(CLASSES, [network([9, 8])], [network([9, 2])], [network([9, 8])])
    found = largest_cost(on_test, control=network([9, 9]), pruned=network([9, 9]))
    assert (found, found.tags) == (LargestCost("", 0.0, False), {})
    _, lines = table_and_lines(network([9, 8]), network([9, 8]), network([9, 8]), found)
    assert "  According to validation images, pruning costs no class more than another." in lines


def cost(control, pruned):
    """Return the largest cost of a network whose validation images are the test images."""
    from_control = class_changes(CLASSES, [control], [pruned], [control])
    return largest_cost(from_control, control, pruned)


def test_a_cost_is_shown_if_the_images_show_it():
    """Of 40 dogs 22 are lost, and of 40 cats none: dog costs .275. Its z is .275 / (.5 sqrt(.55 * .45 / 39)) = 6.9."""
    control, pruned = network([38, 38], 40), network([38, 16], 40)
    found = cost(control, pruned)
    assert (found.name, found.cost, found.is_shown) == ("dog", pytest.approx(0.275), True)
    little = network([38, 36], 40)
    assert not cost(control, little).is_shown


def test_the_class_that_costs_most_in_several_networks_is_chosen_by_the_others():
    """In each of three networks dog loses 4 of 10 more than cat, .2 more than the accuracy."""
    controls = [network([9, 9]), network([8, 9]), network([9, 8])]
    pruned = [network([9, 5]), network([8, 5]), network([9, 4])]
    from_control = class_changes(CLASSES, controls, pruned, controls)
    _, name, cost, low, high, is_shown = from_control.worst.iloc[0]
    assert (name, cost) == ("dog", pytest.approx(0.2, abs=0.03))
    assert low <= cost <= high
    assert ("dog costs most" in sentences.costliest(from_control)) == is_shown


def table_and_lines(before, control, after, cost):
    changes = class_changes(CLASSES, [before], [after])
    beyond = Beyond({4.0: class_changes(CLASSES, [before], [after], [control])}, {4.0: cost})
    table = str(pruning_table({4.0: changes}, {4.0: 4.0}, details=False, beyond=beyond))
    return table.splitlines(), what_is_shown({4.0: changes}, Cause(), beyond=beyond).splitlines()


def test_the_table_has_the_recall_of_the_control_and_the_loss_beyond_it():
    table, lines = table_and_lines(network([9, 9]), network([7, 8]), network([7, 1]), LargestCost("dog", 0.35, False))
    assert table[0].split()[:6] == ["class", "before", "control", "after", "loss", "95"]
    (dog,) = (line.split() for line in table if line.startswith("dog  ") and "+" in line)
    assert dog[1:5] == ["0.900", "0.800", "0.100", "+70.0"]
    assert float(dog[5]) < 70 < float(dog[7])
    (accuracy,) = (line.split() for line in table if line.startswith("accuracy") and "+" in line)
    assert accuracy[1:5] == ["0.900", "0.750", "0.400", "+35.0"]
    assert lines[0] == "ratio 4: accuracy went from 90.0 to 40.0 %, and to 75.0 % in the control"


def test_p_is_that_of_the_images_if_retraining_changed_nothing():
    """Of ten dogs the control has 8 right and the pruned network 1: McNemar's p is 2 / 2^7, and Holm doubles it."""
    table, _ = table_and_lines(network([7, 8]), network([7, 8]), network([7, 1]), LargestCost("dog", 0.35, False))
    assert table[0].split()[-2:] == ["p", "images"]
    (dog,) = (line.split() for line in table if line.startswith("dog"))
    assert dog[-2:] == [f"{2 * 2 / 2**7:.3f}", "10"]
    (accuracy,) = (line.split() for line in table if line.startswith("accuracy"))
    assert accuracy[-1] == "20"


def test_one_network_is_judged_as_an_audit_judges_it():
    """Retraining alone moves the classes by 20 images of 100, so 22 lost dogs show nothing; McNemar's p was 5e-7."""
    before, control, after = network([70, 90], 100), network([90, 70], 100), network([90, 48], 100)
    from_control = class_changes(CLASSES, [before], [after], [control])
    audited = audit_predictions(
        before.label, *(each.predicted for each in (before, after, control)), class_names=CLASSES
    )
    rows = audited.table.set_index("class").loc[list(CLASSES)]
    assert from_control.damaged == audited.damaged == []
    for name, own in {"p": "p", "beyond_control": "change", "recall_control": "recall_before"}.items():
        np.testing.assert_allclose(from_control.table[own], rows[name])
    for name in ("loss_upper_all", "cost_upper_all", "disproportionate_upper_all"):
        np.testing.assert_allclose(from_control.ranked.set_index("class").loc[list(CLASSES), name], rows[name])
    unmoved = class_changes(CLASSES, [control], [after], [control])
    assert unmoved.damaged == ["dog"]


def test_a_control_at_chance_is_said():
    _, lines = table_and_lines(network([9, 9]), network([0, 10]), network([9, 9]), LargestCost("dog", 0.1, False))
    assert lines[1] == "  The network is at chance in the control."


def test_a_class_is_named_as_harmed_only_if_its_corrected_p_is_small():
    weak, good = network([38, 16], 40), network([38, 38], 40)
    _, lines = table_and_lines(good, good, weak, LargestCost("dog", 0.275, True))
    assert lines[1].startswith("  1 of 2 classes ")
    assert "dog lost 55.0 points (" in lines[1]
    assert lines[2] == (
        "  According to validation images, pruning costs dog most, and a test on test images confirms this: "
        "dog loses 27.5 points more than the accuracy."
    )
    _, lines = table_and_lines(good, network([38, 19], 40), weak, LargestCost("dog", 0.0375, False))
    assert lines[1].startswith("  None of 2 classes ")
    assert "80 images" in lines[1]
    assert lines[2] == (
        "  According to validation images, pruning costs dog most. On test images dog loses 3.8 points more than the "
        "accuracy, which may be chance."
    )
    _, lines = table_and_lines(good, network([38, 19], 40), weak, LargestCost("dog", -0.0375, False))
    assert lines[2].endswith(" dog loses 3.8 points less than the accuracy, so nothing is shown.")
    assert lines[-2].startswith("This is one network: with another seed, other classes may lose.")


def test_five_seeds_of_one_given_network_are_not_advised():
    good, weak = network([38, 38], 40), network([38, 16], 40)
    changes = {4.0: class_changes(CLASSES, [good], [weak])}
    beyond = Beyond({4.0: class_changes(CLASSES, [good], [weak], [good])}, {4.0: LargestCost("dog", 0.3, True)})
    said = what_is_shown(changes, Cause(), beyond=beyond, is_given=True)
    assert "\nThis is one network: in another one, other classes may lose.\n" in said


def test_the_error_beyond_the_control_and_the_class_beyond_its_proportion_are_told():
    """The error doubles from .15 to .30. In proportion cats would lose 10 points and dogs 20: they lose 0 and 30."""
    good, weak = network([90, 80], 100), network([90, 50], 100)
    _, lines = table_and_lines(good, good, weak, LargestCost("dog", 0.15, True))
    (line,) = (line for line in lines if "times" in line)
    assert line.startswith("  The error is 2.00 times that of the control. dog loses 10.0 points (")
    _, lines = table_and_lines(good, good, network([80, 60], 100), LargestCost("dog", 0.05, False))
    (line,) = (line for line in lines if "times" in line)
    assert line.endswith(
        " control. No class is shown to lose more than if every class's error had been multiplied by the same factor."
    )


def test_nothing_is_told_of_proportion_where_the_control_has_no_error():
    _, lines = table_and_lines(network([9, 9]), network([10, 10]), network([9, 9]), LargestCost("dog", 0.0, False))
    assert not any("proportion" in line for line in lines)


def test_a_class_that_is_shown_to_have_gained_is_named():
    """Dog wins 22 of 40 images beyond the control and loses none."""
    _, lines = table_and_lines(
        network([38, 16], 40), network([38, 16], 40), network([38, 38], 40), LargestCost("cat", 0.275, True)
    )
    assert lines[2].startswith("  dog is shown to have 55.0 points more recall")


def test_the_control_is_said_to_have_class_offsets_and_these_are_summed_up():
    said = reading({4.0: None}, beyond=True, have_offsets=True)
    assert said.startswith(
        "The control was fine-tuned equally long, without pruning, and has class offsets of its own. "
    )
    assert "offsets" not in reading({4.0: None}, beyond=True)
    table = pd.DataFrame({"class": ["cat", "dog", "owl"], "offset": [-0.25, 1.5, -1.25]})
    assert offset_lines({4.0: table}) == [
        "ratio 4: class offsets, fitted on validation images, raise the logit of dog most, by 1.50, and lower that of "
        "owl most, by 1.25"
    ]
    assert "class offsets are 0" in offset_lines({4.0: table.assign(offset=0.0)})[0]


def test_the_picture_of_the_run_and_of_the_job_is_beside_the_control(prune, monkeypatch):
    """A picture beside the control is made twice as wide here."""
    monkeypatch.setattr(
        pictures, "recall_change", lambda changes, **settings: Figure((1 + ("from_control" in settings), 1))
    )
    prune("--pruner", "mp", "--ratio", 4)
    (pruned,) = [run for run in runs("pruned") if run.data.params["pruner"] == "mp"]
    (control,) = [run for run in runs("pruned") if run.data.params["pruner"] == "none"]
    shapes = [imread(artifact(run, "recall_balance.png")).shape[:2] for run in (pruned, runs("job")[0], control)]
    assert shapes == [(100, 200), (100, 200), (100, 100)]
    # Another ratio has a control already, and a job of several ratios a picture of its own.
    prune("--pruner", "mp", "--ratio", "4,8")
    assert imread(artifact(runs("pruned")[-1], "recall_balance.png")).shape[:2] == (100, 200)
