"""The tables of risk/, on networks whose losses follow from their scores by construction."""

import numpy as np
import pytest
import risk

from analysis.statistics.risk_judgement import Networks
from analysis.statistics.risk_scores import class_scores

CLASSES, IMAGES, NETWORKS = 6, 50, 8
LABEL = np.repeat(np.arange(CLASSES), IMAGES)
# The later classes are harder, and of each the later images.
DOUBT = 0.06 * (1 + LABEL) * np.tile(np.arange(IMAGES) / IMAGES, CLASSES)


def networks(seed, lost_by_control):
    """Networks that are right about all images, and lose an image as often as it is in doubt."""
    random = np.random.default_rng(seed)
    before = np.tile(LABEL, (NETWORKS, 1))
    shares = (DOUBT, DOUBT * lost_by_control)
    after, control = (np.where(random.random(before.shape) < share, (before + 1) % CLASSES, before) for share in shares)
    return Networks(before, after, control)


def judged(seed, lost_by_control=0.3):
    images = {"recall": 1 - DOUBT, "margin": 1 - DOUBT}
    scores = class_scores(images, LABEL, CLASSES, np.full(CLASSES, 1 / CLASSES))
    names = np.array([f"class {number}" for number in range(CLASSES)])
    return risk.RiskStudy(
        scores, images, LABEL, names, networks(seed, lost_by_control), networks(seed + 1, lost_by_control)
    )


@pytest.fixture(scope="module")
def cosine():
    return {dataset: judged(10 * place) for place, dataset in enumerate(risk.DATASETS)}


@pytest.fixture(scope="module")
def tests(cosine):
    return risk.tests(cosine).set_index(["test", "dataset"])


def test_classes_that_are_in_doubt_are_shown_to_pay(tests):
    row = tests.loc["classes by recall", "mean"]
    assert row["difference"] > 0.8
    assert row["p"] == pytest.approx(1 / 10_000)  # no order of the classes does as well
    assert row["n"] == 3 * CLASSES


def test_a_margin_that_knows_the_truth_reaches_the_ceiling(tests):
    rows = tests.loc["lost images: margin minus ceiling"]
    assert (rows["difference"] > -0.01).all()
    assert rows["of_first"].between(0.65, 0.9).all()
    assert rows["difference"].to_numpy() == pytest.approx((rows["of_first"] - rows["of_second"]).to_numpy())
    # The smallest p of three times three, and so on.
    assert rows["p_holm"].min() == pytest.approx(min(1, 3 * rows["p"].min()))


def test_pruning_and_the_control_lose_images_of_the_same_risk(tests):
    rows = tests.loc["margin: lost by pruning minus lost by the control"]
    assert rows["difference"].abs().max() < 0.1


def test_the_riskiest_tenth_of_the_images_has_more_than_a_tenth_of_the_lost(tests):
    rows = tests.loc["lost images in the riskiest tenth: margin minus ceiling"]
    # Their share of all doubt.
    expected = np.sort(DOUBT)[-len(DOUBT) // 10 :].sum() / DOUBT.sum()
    assert rows["of_first"].mean() == pytest.approx(expected, abs=0.05)


def test_the_table_has_every_score_and_the_mean_over_data_sets(cosine):
    both = {(dataset, training): each for dataset, each in cosine.items() for training in ("cosine", "constant")}
    table = risk.table(both)
    mean = table[table["dataset"].eq("mean") & table["training"].eq("cosine")].set_index("score")["value"]
    own = table[table["score"].eq("recall") & table["outcome"].eq("class losses") & table["training"].eq("cosine")]
    assert mean["recall"] == pytest.approx(own.loc[own["dataset"] != "mean", "value"].mean())
    assert set(mean.index) == {"recall", "margin", "ceiling"}
    assert table.loc[table["score"].eq("share"), "value"].isna().all()  # classes have as many training images each


def test_scores_are_stored_with_three_decimals(tmp_path):
    scores = {"mnist": {"entropy": np.array([0.12345, 3.3219]), "recall": np.array([0.3, 1.0])}}
    risk.save(tmp_path, scores)
    found = risk.read(tmp_path)
    assert found["mnist"]["entropy"].tolist() == [0.123, 3.322]
    assert found["mnist"]["recall"].tolist() == [0.3, 1.0]


def test_the_picture_names_the_classes_that_lose_most(cosine):
    above = risk.figure(cosine).axes[: len(cosine)]
    for axes, each in zip(above, cosine.values(), strict=True):
        worst = np.argsort(-each.losses.mean(0))[:2]
        assert {text.get_text() for text in axes.texts} == {f"class {number}" for number in worst}


def test_nothing_is_written_without_scores(tmp_path):
    risk.write(tmp_path)
    assert not [*tmp_path.iterdir()]
