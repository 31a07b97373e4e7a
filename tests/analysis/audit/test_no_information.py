"""Input that can carry no decision, or little: it is said, and nothing counts as kept."""

import re

import click.testing
import numpy as np
import pytest

from analysis.__main__ import cli
from analysis.audit import audit
from analysis.compare import blocks, logged
from analysis.statistics.limits import in_points

LABEL = np.repeat(np.arange(10), 100)


def answers(label, right):
    """Predictions with so many right images in each class; the others are called any other class."""
    classes, images = label.max() + 1, np.bincount(label)[0]
    is_right = np.arange(len(label)) % images < np.repeat(np.broadcast_to(right, classes), images)
    return np.where(is_right, label, (label + 1 + np.arange(len(label)) % (classes - 1)) % classes)


@pytest.fixture
def audited(tmp_path, monkeypatch, blank_picture):
    """Return a function that audits predictions by the command line and returns its exit code and joined lines."""
    monkeypatch.chdir(tmp_path)

    def run(label, *options, **sides):
        for side, predicted in sides.items():
            np.savez(f"{side}.npz", label=label, predicted=predicted)
        given = [f"--{side}={side}.npz" for side in sides]
        result = click.testing.CliRunner().invoke(cli, ["audit", *given, *options])
        return result.exit_code, " ".join(result.output.split())

    return run


def test_one_file_on_every_side_is_said(audited):
    np.savez("network.npz", label=LABEL, predicted=answers(LABEL, 90))
    sides = [f"--{side}=network.npz" for side in ("before", "after", "control")]
    code, said = audited(LABEL, *sides, "--max-class-loss", "5")
    assert code == 0
    assert "the same images are recognised, as if they were one network." in said
    assert "the control is the network before. Compression changed nothing either." in said


@pytest.mark.parametrize("before", [np.zeros_like(LABEL), np.arange(1000) % 10])
@pytest.mark.parametrize("after", [np.zeros_like(LABEL), np.arange(1000) % 10])
def test_constant_predictions_and_guesses_decide_nothing(audited, before, after):
    """The second kind of network is right about a tenth of each class."""
    options = ("--max-class-loss", "95", "--max-accuracy-loss", "5")
    code, said = audited(LABEL, *options, before=before, after=after)
    assert code == 4
    assert said.count("A network is at chance before compression and after compression.") == 2
    metrics = logged.loss_metrics(audit.audit_predictions(LABEL, before, after).comparison)
    assert (metrics["worst_class_loss_upper"], metrics["accuracy_loss_upper"]) == (1, 1)


@pytest.mark.parametrize(("recognised", "is_counted"), [(0, False), (3, False), (10, False), (11, True)])
def test_a_class_with_hardly_any_recall_is_not_counted_as_kept(audited, recognised, is_counted):
    """A guess recognises 10 of 100 images."""
    network = answers(LABEL, [90] * 9 + [recognised])
    code, said = audited(LABEL, "--max-class-loss", "15", before=network, after=network)
    assert code == 0
    assert ("Not counted as kept, for want of recall to lose: 9." in said) != is_counted
    code, said = audited(LABEL, "--fail-on-damage", before=network, after=network)
    assert ("Not counted as kept, for want of recall to lose: 9." in said) == (recognised == 0)


def test_a_class_that_could_lose_more_than_the_limit_is_counted():
    network = answers(LABEL, [90] * 9 + [9])
    reasons = [audit.audit_predictions(LABEL, network, network).gate(in_points(limit, None)).reason for limit in (8, 9)]
    assert ["Not counted" in reason for reason in reasons] == [False, True]


def test_networks_that_are_above_chance_but_do_not_work_decide_nothing(audited):
    """Guessing one of 20 classes has a recall of 5 %, and 9 % of 20,000 images are shown to be more."""
    label = np.repeat(np.arange(20), 1000)
    before, after = answers(label, 90), answers(label, 91)
    code, said = audited(label, "--max-class-loss", "5", "--fail-on-damage", before=before, after=after)
    assert code == 4
    headline = "Neither network works: mean recall is 9.0 % before and 9.1 % after, and 5.0 % by guessing."
    assert said.startswith(f"1. The network that would ship, compared with the one it replaces {headline}")
    assert said.count("NOT DECIDED (exit code 4). Neither network works.") == 2
    works = audit.audit_predictions(label, answers(label, 900), answers(label, 900))
    assert "works" not in works.verdict


def test_the_loss_of_accuracy_leads_if_no_class_is_shown_to_be_worse(audited):
    """Of 300 classes of three images, 620 of 900 images are recognised before, and 18 after."""
    label = np.repeat(np.arange(300), 3)
    before, after = answers(label, [2] * 280 + [3] * 20), answers(label, [0] * 282 + [1] * 18)
    code, said = audited(label, "--max-class-loss", "20", before=before, after=after)
    assert code == 4
    assert re.search(r"replaces Accuracy 68\.9 -> 2\.0 %: 66\.9 points lost \([^)]*\)\. No class is shown", said)
    comparison = audit.audit_predictions(label, before, after).comparison
    assert blocks.outcome(comparison) == "the accuracy is worse (66.9 points), no single class shown to be"


def test_a_group_that_is_not_shown_to_be_worse_is_not_named_as_the_one_that_loses_most():
    """Of 200 groups of 18 images, group 17 loses five, and group 18 wins five."""
    label, group = np.tile([0, 1], 1800), np.repeat(np.arange(200), 18)
    before, after = label.copy(), label.copy()
    lost, won = (np.flatnonzero(group == each)[:5] for each in (17, 18))
    after[lost], before[won] = 1 - label[lost], 1 - label[won]
    result = audit.audit_predictions(label, before, after, groups=np.char.add("group ", group.astype(str)))
    assert "No group is shown to be worse." in result.verdict
    note = next(note for note in result.notes if "Chance movement" in note)
    assert "the hardest-hit group loses 27.8 points more than the accuracy" in note
    assert "17" not in note
