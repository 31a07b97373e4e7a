"""The numbers of risk/, on networks whose losses are known by hand."""

import numpy as np
import pytest
import risk
from risk_judgement import Networks
from risk_scores import class_scores

CLASSES, IMAGES, NETWORKS = 4, 20, 2
LABEL = np.repeat(np.arange(CLASSES), IMAGES)
# Class 1 loses its first image, class 2 its first two, class 3 its first three. The margins of the first four images of
# class 3 are the smallest.
LOST = (LABEL > 0) & (np.arange(len(LABEL)) % IMAGES < LABEL)
MARGIN = 1 - LABEL / 10 - np.where(np.arange(len(LABEL)) % IMAGES < 4, 0.05, 0)


@pytest.fixture(autouse=True)
def made_up(monkeypatch):
    before = np.tile(LABEL, (NETWORKS, 1))
    networks = Networks(before, np.where(LOST, (before + 1) % CLASSES, before), before)
    images = {"recall": 1 - LABEL / 10, "margin": MARGIN}
    scores = class_scores(images, LABEL, CLASSES, np.full(CLASSES, 1 / CLASSES))
    names = np.array([f"class {number}" for number in range(CLASSES)])
    own = risk.Scored(scores, images, LABEL, networks, networks, names)
    monkeypatch.setattr(risk, "scored", lambda study, dataset, training="cosine": own)


def test_classes_of_low_recall_pay_in_this_order():
    table = risk.scores(object()).set_index(["quantity", "dataset", "training", "score"])
    assert table.loc["rank_correlation", "mnist", "cosine", "recall"]["value"] == 1
    row = table.loc["rank_correlation", "mean", "constant", "recall"]
    # Of all orders of four classes on three data sets, one in 24**3 does as well, and one as badly.
    assert row[["value", "n"]].tolist() == [1, 3 * CLASSES]
    assert row["p"] == pytest.approx(2 / 24**3, abs=3e-4)
    assert "share" not in table.index.get_level_values("score")  # all classes have as many training images


def test_a_cost_is_a_loss_beyond_that_of_the_accuracy():
    table = risk.costs(object()).query("dataset == 'mnist'")
    # Six of eighty images are 7.5 points, and an image of a class 5.
    assert table["value"].tolist() == pytest.approx([-7.5, -2.5, 2.5, 7.5])


def test_the_ceiling_knows_all_lost_images_and_the_margin_half_of_them():
    means = risk.networks(object()).groupby(["dataset", "score"])[["auc_of_lost", "riskiest_tenth"]].mean()
    assert means.loc["mnist", "ceiling"].tolist() == [1, 100]
    # The eight smallest margins are those of four images of class 3, three of them lost, and four others of class 3.
    assert means.loc["mnist", "margin"]["riskiest_tenth"] == pytest.approx(50)


def test_the_costliest_class_is_among_the_two_with_most_errors(monkeypatch):
    """Dense networks are right about all images but ten of class 1 and eleven of class 2, and class 3 pays most."""
    own = risk.scored(object(), "mnist")
    wrong = [(label == LABEL) & (np.arange(len(LABEL)) % IMAGES >= IMAGES - 9 - label) for label in (1, 2)]
    before = np.where(np.any(wrong, axis=0), (LABEL + 1) % CLASSES, LABEL)[np.newaxis]
    most_of_3 = np.where(LABEL == 3, 0, before)
    networks = [Networks(before, after, before) for after in (most_of_3, np.where(LABEL == 2, 0, before))]
    both = iter([own._replace(judges=each) for each in networks for _ in risk.DATASETS])
    monkeypatch.setattr(risk, "scored", lambda *_: next(both))
    assert risk.first_two(object())["value"].tolist() == [0, 100]
