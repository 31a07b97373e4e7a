"""The tables of pies/, on ten networks whose PIEs and disputes are known by hand."""

import numpy as np
import pies
import pytest

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
def populations():
    generator = np.random.default_rng(0)
    trouser, bag = 1, 8  # rare and not
    return {pies.RARE: population(generator, trouser), pies.BALANCED: population(generator, bag)}


def test_pies_of_a_rare_class_give_the_rare_classes_their_index(populations):
    table = pies.over_indices(LABEL, populations).set_index(["networks", "compared", "group"])
    assert "others" not in table.index.get_level_values("group")
    for networks, group, rare in ((pies.RARE, "Trouser", True), (pies.BALANCED, "Bag", False)):
        row = table.loc[networks, "pruned", group]
        assert row["pies"] == 12
        first = table.loc[networks, "pruned", "T-shirt/top"]["pies"]
        assert row["index"] == pytest.approx(10 * 12 / (12 + first))
        expected = 12 / (12 + first) / 0.3 if rare else 0
        assert table.loc[networks, "pruned", "rare classes"]["index"] == pytest.approx(expected)
        assert table.loc[networks, "pruned", "rare classes"]["index_placebo"] == 0
        assert table.loc[networks, "control", group]["pies"] == 0


def test_abstention_by_dispute_leaves_out_the_images_that_all_pruned_networks_change(populations):
    table = pies.abstention(LABEL, populations).set_index(["networks", "by", "coverage"]).sort_index()
    population = populations[pies.RARE]
    right = population.pruned == LABEL
    for coverage in (0.5, 0.9, 1):
        own = table.loc[pies.RARE, pies.OWN, coverage]
        assert own["accuracy"] == pytest.approx(100 * right.mean())  # any images are as likely to be left out
        assert own["minus_own"] == 0
    # All pairs dispute the twelve images, and no pair those of the other nine classes.
    left = table.loc[pies.RARE, pies.DISPUTE, 0.5]
    assert left["accuracy"] == 100
    assert left["minus_own"] == pytest.approx(100 * (1 - right.mean()))
    assert table.loc[pies.RARE, pies.DENSE_ALONE, 0.5]["accuracy"] < 100


def test_the_primary_tests_are_of_the_rare_networks_and_corrected_for_two(populations):
    table = pies.primary_tests(LABEL, populations)
    indices = pies.over_indices(LABEL, populations).set_index(["networks", "compared", "group"])
    row = indices.loc[pies.RARE, "pruned", "rare classes"]
    assert table["difference"][0] == pytest.approx(row["index"] - row["index_placebo"])
    assert table["difference_low"][0] == pytest.approx(row["index_minus_placebo_low"])
    abstention = pies.abstention(LABEL, populations).set_index(["networks", "by", "coverage"])
    assert table["difference"][1] == pytest.approx(abstention.loc[pies.RARE, pies.DISPUTE, 0.9]["minus_own"])
    smaller, larger = sorted(table["p"])
    assert sorted(table["p_holm"]) == pytest.approx([2 * smaller, max(2 * smaller, larger)])


def test_a_folder_without_answers_is_left_alone(tmp_path):
    (tmp_path / "pies").mkdir()
    pies.write(tmp_path)
    assert not list((tmp_path / "pies").iterdir())
