"""The numbers of pies/, on ten networks whose PIEs and disputes are known by hand."""

import numpy as np
import pies
import pytest
from published import Study

NETWORKS, IMAGES = 10, 20  # of each class
LABEL = np.repeat(np.arange(10), IMAGES)


def population(generator, changed_class):
    """Seeds dispute half of the first class. Pruning also gives twelve images of one class to the next class.

    The networks' own doubt says nothing: it is the same for all images.
    """
    dense = np.tile(LABEL, (NETWORKS, 1))
    dense[:, : IMAGES // 2] = generator.integers(0, 2, (NETWORKS, IMAGES // 2))
    pruned = dense.copy()
    pruned[:, changed_class * IMAGES : changed_class * IMAGES + 12] += 1
    return pies.Population(dense, pruned, dense, np.full(dense.shape, -3, np.float16))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    generator, folder = np.random.default_rng(0), tmp_path_factory.mktemp("pies")
    trouser, bag = 1, 8  # rare and not
    populations = {pies.RARE: population(generator, trouser), pies.BALANCED: population(generator, bag)}
    arrays = {f"{name}_{side}": each for name, own in populations.items() for side, each in own._asdict().items()}
    np.savez(folder / "answers.npz", label=LABEL, **arrays)
    return Study(folder)


def test_pies_of_a_rare_class_give_the_rare_classes_their_index(study):
    table = pies.indices(study).set_index(["networks", "compared", "group"])
    for networks, group, is_rare in ((pies.RARE, "Trouser", True), (pies.BALANCED, "Bag", False)):
        row, rare = table.loc[networks, "pruned", group], table.loc[networks, "pruned", "rare classes"]
        n = table.loc[networks, "pruned", "all images"]["pies"]
        assert row["pies"] == 12
        assert (row["share"], row["index"]) == pytest.approx((100 * 12 / n, 10 * 12 / n))
        assert rare["index"] == pytest.approx(12 / n / 0.3 if is_rare else 0)
        assert rare["index_placebo"] == 0
        assert table.loc[networks, "control", group]["pies"] == 0


def test_abstention_by_dispute_leaves_out_the_images_that_all_pruned_networks_change(study):
    table = pies.abstention(study).set_index(["networks", "by", "left"])
    label, populations = pies.read(study.folder)
    accuracy = 100 * (populations[pies.RARE].pruned == label).mean()
    own, by_dispute = (table.loc[pies.RARE, by, 50] for by in (pies.OWN, pies.DISPUTE))
    assert own["accuracy"] == pytest.approx(accuracy)  # any images are as likely to be left out
    # All pairs dispute the twelve images, and no pair those of the other nine classes.
    assert by_dispute["accuracy"] == 100
    assert by_dispute["minus_own"] == pytest.approx(100 - accuracy)
    assert table.loc[pies.RARE, pies.DENSE_ALONE, 50]["accuracy"] < 100


def test_the_primary_tests_are_of_the_rare_networks_and_corrected_for_two(study):
    table = pies.primary(study).set_index("outcome")
    index = pies.indices(study).set_index(["networks", "compared", "group"]).loc[pies.RARE, "pruned", "rare classes"]
    left = pies.abstention(study).set_index(["networks", "by", "left"]).loc[pies.RARE, pies.DISPUTE, 90]
    assert table["difference"].tolist() == pytest.approx([index["index_minus_placebo"], left["minus_own"]])
    smaller, larger = sorted(table["difference_p"])
    assert sorted(table["difference_p_holm"]) == pytest.approx([2 * smaller, max(2 * smaller, larger)])
