"""Classes that are numbered differently in the labels and in the predictions, and labels that are no classes."""

import click.testing
import numpy as np
import pandas as pd
import pytest

from analysis.__main__ import cli
from analysis.audit import audit, class_order
from analysis.audit.evaluator import PruningAudit
from analysis.common.errors import StudyError
from tests.error_lines import error_line

LABEL = np.repeat([0, 1, 2], 10)  # as a loader numbers the classes 0, 2 and 3 of four
OUTPUT = np.array([0, 2, 3])[LABEL]


def audited(tmp_path, label, before, after, *options):
    """Run the command on files and return its exit code and output."""
    for name, predicted in (("before", before), ("after", after)):
        pd.DataFrame({"label": label, "predicted": predicted}).to_csv(tmp_path / f"{name}.csv", index=False)
    arguments = ["audit", "--before", tmp_path / "before.csv", "--after", tmp_path / "after.csv", *options]
    result = click.testing.CliRunner().invoke(cli, [*map(str, arguments), "--output", str(tmp_path / "out")])
    return result.exit_code, result.output


class Data:
    """The data that MLflow gives an evaluator."""

    has_targets, features_data, labels_data, predictions_data = True, None, LABEL, OUTPUT


def test_labels_without_the_numbers_of_missing_classes_are_refused_everywhere(tmp_path):
    likely = r"only if they are renumbered \(2 for 1, 3 for 2\), .*class_to_idx of the training images"
    with pytest.raises(StudyError, match=f"before: the labels .* {likely}"):
        audit.audit_predictions(LABEL, OUTPUT, OUTPUT, class_names=["ant", "bee", "cat"])
    with pytest.raises(StudyError, match=likely):
        PruningAudit().evaluate(
            model_type="classifier", dataset=Data(), run_id="", evaluator_config={"baseline_predictions": OUTPUT}
        )
    code, output = audited(tmp_path, LABEL, OUTPUT, OUTPUT, "--max-class-loss", 5)
    assert (code, "(2 for 1, 3 for 2)" in error_line(output)) == (1, True)
    assert audited(tmp_path, LABEL, OUTPUT, OUTPUT, "--keep-class-order")[0] == 0
    assert audited(tmp_path, OUTPUT, OUTPUT, OUTPUT)[0] == 0  # right labels


def test_one_small_class_with_a_wrong_number_is_found_although_nearly_all_images_agree():
    """Six classes without the fifth, of which the sixth loses 80 points that no limit would see."""
    true = np.repeat([0, 1, 2, 3, 5], [100, 80, 60, 40, 20])
    after = np.where(np.arange(300) < 284, true, 0)
    with pytest.raises(StudyError, match=r"renumbered \(5 for 4\)"):
        audit.audit_predictions(np.minimum(true, 4), true, after)
    assert audit.audit_predictions(true, true, after).damaged == ["5"]


@pytest.mark.parametrize("side", ["before", "after", "control"])
def test_two_classes_that_are_swapped_in_some_files_are_named(side):
    label = np.repeat(np.arange(10), 20)
    swapped = np.array([0, 1, 2, 5, 4, 3, 6, 7, 8, 9])[label]
    sides = {"before": label, "after": label} | {side: swapped}
    with pytest.raises(StudyError, match=rf"{side}: the predictions agree .* another order \(5 for 3, 3 for 5\)"):
        audit.audit_predictions(label, **sides)


def test_classes_that_were_lost_are_no_swap_and_no_other_number():
    label = np.repeat([0, 1, 2], 20)
    for lost in ([0, 0, 2], [1, 1, 2], [0, 1, 3], [0, 3, 2]):  # class 3 has no images
        before = np.where(np.arange(60) % 20, label, 3)
        assert audit.audit_predictions(label, before, np.array(lost)[label]).damaged


def linear_networks(rng):
    """True classes, some of which are absent, and predictions of a network of accuracy .5 to .99 before and pruned."""
    classes, features = rng.choice([3, 5, 10, 20, 50]), 64
    present = np.sort(rng.choice(classes, rng.integers(2, classes), replace=False))
    true = np.repeat(present, 8 + (30 * rng.lognormal(size=len(present))).astype(int))
    weights = rng.normal(size=(classes, features)) + rng.uniform(0, 1) * rng.normal(size=features)
    noise = rng.normal(size=(len(true), features))
    for scale in rng.permutation([0.5, 1, 2, 3, 4, 5, 6, 8, 10]):
        images = weights[true] + scale * noise
        before, after = (
            (images @ own.T - (own**2).sum(1) / 2).argmax(1)
            for own in (weights, np.where(abs(weights) > rng.uniform(0, 2), weights, 0))
        )
        if 0.5 <= np.mean(before == true) <= 0.99:
            return present, true, before, after
    return linear_networks(rng)


def test_no_sound_pair_with_absent_classes_is_refused_and_nearly_every_wrong_number_is():
    rng, wrong, refused = np.random.default_rng(0), 0, 0
    for _ in range(50):
        present, true, before, after = linear_networks(rng)
        class_order.check(true, {"before": before[np.newaxis], "after": after[np.newaxis]})
        label = np.searchsorted(present, true)
        if (label != true).any() and not np.isin(before, label).all():
            wrong += 1
            refused += bool(class_order.closed_up(label, before))
    assert (wrong, refused) == (44, 42)


@pytest.mark.parametrize("none", [-1, -100])
def test_labels_that_are_no_classes_are_refused_and_left_out_if_asked(tmp_path, none):
    label = np.where(np.arange(30) % 10, OUTPUT, none)  # three images without a class
    code, output = audited(tmp_path, label, OUTPUT, OUTPUT)
    assert code == 1
    assert f"no network predicts the label {none}, which" in error_line(output)
    assert f"--ignore-label {none}" in error_line(output)
    assert audited(tmp_path, label, OUTPUT, OUTPUT, "--ignore-label", none)[0] == 0
    names, sure = np.where(np.arange(30) < 15, "day", "night"), np.full(30, 0.5)
    result = audit.audit_predictions(
        label, OUTPUT, OUTPUT, groups=names, ignore_label=none, confidences={"before": sure, "after": sure}
    )
    assert result.table["images"].tolist() == [13, 14]
    assert audit.audit_predictions(label, label, label).table["images"].tolist()[0] == 3  # a class if predicted


def test_images_without_a_class_are_left_out_of_probabilities_and_logits_too(tmp_path):
    scores = np.eye(4)[OUTPUT]
    for name, what in (("a", "probabilities"), ("b", "logits")):
        label = np.where(np.arange(30) % 10, OUTPUT, -1)
        np.savez(tmp_path / f"{name}.npz", label=label, class_names=list("abcd"), **{what: scores})
    files = [str(tmp_path / "a.npz")], [str(tmp_path / "b.npz")]
    with pytest.raises(StudyError, match="no network predicts the label -1"):
        audit.audit(*files)
    result = audit.audit(*files, ignore_label="-1")
    assert result.table[["class", "images"]].to_numpy().tolist() == [["a", 9], ["c", 9], ["d", 9]]
