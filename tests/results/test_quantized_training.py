"""The numbers of quantized-training/, on networks whose losses are known by hand."""

import numpy as np
import pytest
import quantized_training
from published import Study

IMAGES, NETWORKS = 40, 3
LABEL = np.repeat(np.arange(10), IMAGES)


def right(*, lost=0, cls=0, more=(0, 0, 0)):
    """Networks that get all images right but `lost`, and `more` of each network, of one class."""
    answers = np.ones((NETWORKS, len(LABEL)), bool)
    for network, extra in enumerate(more):
        answers[network, IMAGES * cls : IMAGES * cls + lost + extra] = False
    return answers


@pytest.fixture
def study(tmp_path):
    folder = tmp_path / "quantized-training-resnet20"
    folder.mkdir()
    answers = {"dense": right(), "control": right(), "while 4": right(lost=8, cls=3, more=(1, 2, 3))}
    answers |= {"after 4": right(lost=8, cls=3), "while 8": right(lost=2, cls=5)}
    answers["after 8"] = right(lost=2, cls=5, more=(0, 1, 2))
    packed = {name: np.packbits(own, axis=1) for name, own in answers.items()}
    changes = {name: own ^ packed["dense"] for name, own in packed.items() if name != "dense"}
    np.savez(folder / "answers.npz", label=LABEL, dense=packed["dense"], **changes)
    label, read = quantized_training.read(folder)
    assert (label == LABEL).all()
    assert all((read[name] == own).all() for name, own in answers.items())
    return Study(folder)


def test_the_largest_excess_loss_is_of_the_class_less_the_accuracy(study):
    table = quantized_training.networks(study).set_index("kind")
    # 8 of 40 images of a class are 20 points, and of all 400 images 2; a further image is 2.5 and .25 points.
    assert table.loc["after 4", "largest_excess"].tolist() == pytest.approx([18, 18, 18])
    assert table.loc["while 4", "largest_excess"].tolist() == pytest.approx([20.25, 22.5, 24.75])
    assert table.loc["while 4", "accuracy"].tolist() == pytest.approx([97.75, 97.5, 97.25])
    assert table.loc["control", ["largest_excess", "floor"]].to_numpy().ravel().tolist() == [0] * 6


def test_the_cost_of_a_class_is_its_loss_less_that_of_the_accuracy(study):
    table = quantized_training.class_costs(study).set_index(["kind", "against", "class"]).sort_index()
    # 8 of 40 images of a class, and 1, 2 and 3 more, are 25 points on average, and of all 400 images 2.5.
    row = table.loc["while 4", "control", "cat"]
    assert row[["loss", "accuracy_loss", "cost"]].tolist() == pytest.approx([25, 2.5, 22.5])
    assert (row["n"], row["costliest"]) == (NETWORKS, True)
    others = table.loc[("while 4", "control")].drop(index="cat")
    assert others["loss"].tolist() == [0] * 9
    assert (others["no_class_more"] == row["loss_upper_all"]).all()
    assert table.loc[("while 4", "after 4", "cat"), "cost"] == pytest.approx(4.5)
    assert table.loc[("after 8", "while 8", "dog"), "loss"] == pytest.approx(2.5)
