"""The numbers of compress/, on three chains of four networks whose losses are known by hand."""

import compress
import numpy as np
import pandas as pd
import pytest
from published import Study

CLASSES, IMAGES, NETWORKS = 10, 400, 4
# Bytes of the network as it is, of a chain that loses nothing, and of one that loses a twelfth of the first class: .8 %
# of all images.
BYTES = (1000, 500, 100)
LOST = (32, 33, 32, 31)
OWN = np.repeat(np.arange(CLASSES), IMAGES)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Every network and control has all images right, and the last chain loses the first images of the first class.

    Each network has other images for validation, and all have the same for testing.
    """
    folder = tmp_path_factory.mktemp("compress")
    lost = np.zeros((len(BYTES), NETWORKS, len(OWN)), bool)
    for network, n in enumerate(LOST):
        lost[-1, network, :n] = True
    stored = {"shape": lost.shape, "before": np.packbits(np.ones(lost.shape[1:], bool)), "after": np.packbits(lost)}
    stored |= {"control": np.packbits(np.zeros((1, *lost.shape[1:]), bool)), "which": [0] * len(BYTES)}
    np.savez(folder / "test.npz", label=OWN, **stored)
    places = np.repeat(np.eye(NETWORKS, dtype=bool), len(OWN), axis=1)
    np.savez(folder / "validation.npz", label=np.tile(OWN, NETWORKS), places=np.packbits(places), **stored)
    chains = pd.DataFrame({"chain": ["as it is", "spares", "weights pruned by mp at ratio 2"], "bytes": BYTES})
    chains.to_csv(folder / "chains.csv", index=False)
    return Study(folder)


def test_answers_are_read_as_differences_from_the_dense_network(study):
    measured = compress.read(study.folder)
    assert measured.validation.before.all()
    assert measured.test.control.all()
    assert (~measured.test.after).sum((1, 2)).tolist() == [0, 0, sum(LOST)]
    assert (measured.places == np.arange(NETWORKS * len(OWN)).reshape(NETWORKS, -1)).all()


def test_accuracy_alone_chooses_the_chain_that_costs_a_class(study):
    chosen = compress.choices(study).query("rule == 'accuracy, estimated' and judges == 'one network'")
    assert chosen["chain"].tolist() == ["mp 2"] * 4
    assert chosen["share"].tolist() == [10] * 4
    # The three networks that did not choose lose 32, 33, 32 and 31 images of 400, but for one of them.
    assert chosen["loss"].tolist() == pytest.approx([96 / 12, 95 / 12, 96 / 12, 97 / 12])
    assert set(chosen["class"] + " " + chosen["state"]) == {"T-shirt/top beyond"}


def test_the_bounds_of_every_class_choose_the_chain_that_spares_it(study):
    chosen = compress.choices(study).query("rule == 'every class, at most'")
    assert chosen["chain"].tolist() == ["spares"] * 5
    assert set(chosen["state"]) == {"within"}
    # None of 400 images is lost in several networks, whose interval of each class alone, as planned, ends at z^2 / 400.
    assert chosen["loss_high"].tolist() == pytest.approx([100 * 1.96**2 / IMAGES] * 5, abs=1e-3)


def test_the_summary_counts_choices_and_what_it_costs_to_respect_the_limit(study):
    row = compress.summary(study).set_index(["rule", "judges"]).loc["accuracy, estimated", "one network"]
    assert row[["n", "beyond", "within", "undecided"]].tolist() == [4, 1, 0, 0]
    assert row["beyond_low"] == pytest.approx(4 / (4 + 1.96**2), abs=1e-3)  # Wilson, four of four
    assert row[["share", "larger"]].tolist() == pytest.approx([10, 5])


def test_the_costliest_class_of_each_chain_is_named(study):
    row = compress.class_costs(study).set_index("chain").loc["mp 2"]
    # A mean of 32 images of 400 are 8 points of the class, and .8 of the accuracy.
    assert row["class"] == "T-shirt/top"
    assert row[["loss", "accuracy_loss", "cost"]].tolist() == pytest.approx([8, 0.8, 7.2])
