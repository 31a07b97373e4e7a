"""Tests of what an audit of several networks a side says of two populations."""

import numpy as np
import pytest

from analysis import audit_predictions
from analysis.statistics.groups import over_represented
from analysis.statistics.hypothesis_tests import wilson_interval

LABEL = np.repeat([0, 1], 10)
NAMES = ["cat", "dog"]


def networks(*wrong):
    """Return predictions of networks, each wrong about the images named."""
    return np.array([np.where(np.isin(np.arange(20), images), 1 - LABEL, LABEL) for images in wrong])


def audited(before, after, **more):
    return audit_predictions(LABEL, before, after, class_names=NAMES, **more)


def test_an_image_that_most_networks_predict_otherwise_is_an_exemplar():
    """Four of five networks before are right about image 12, and one of five after."""
    found = audited(networks([12], [], [3], [], []), networks([12], [12], [12, 3], [12], [])).populations
    (row,) = found.exemplars.to_dict("records")
    assert row == {
        **{"index": 12, "label": "dog", "before": "dog", "after": "cat"},
        **{"before_share": 0.8, "after_share": 0.8},
    }


def test_sentences_say_counts_beside_those_of_chance():
    same = networks(*[[12]] * 5)
    said = " ".join(audited(same, same).notes)
    assert "before and after compression differ for 0 of 20 images" in said
    assert "Too few networks to count the PIEs due to chance: a side (before or after) has 5." in said
    assert "only by chance" not in said
    same = networks(*[[12]] * 10)
    said = " ".join(audited(same, same).notes)
    assert "which differ only by chance, give 0 (0)" in said
    assert "Too few" not in said


def test_the_sentence_on_exemplars_counts_those_without_a_tie():
    """Of six networks after, three take image 12 for a cat, and four image 13. A tie goes to the highest label."""
    after = networks([2, 13], [2, 13], [2, 13], [13], [], [])
    (said, *_) = (note for note in audited(networks(*[[]] * 6), after).notes if note.startswith("PIEs"))
    assert "for 2 of 20 images (1 of them without a tie)" in said


@pytest.mark.parametrize(("count", "exemplars"), [(1, 0), (4, 0), (5, 1)])
def test_modal_labels_take_five_networks_a_side(count, exemplars):
    found = audited(networks(*[[place] for place in range(count)]), networks(*[[15, place] for place in range(count)]))
    assert len(found.populations.exemplars) == exemplars


def test_a_group_is_over_represented_by_its_share_of_the_exemplars():
    """Three of four exemplars are dark, and so are 5 of 20 images."""
    before = networks(*[[]] * 5)
    after = networks(*[[0, 1, 2, 12]] * 5)
    light = np.where(np.isin(np.arange(20), [0, 1, 2, 3, 4]), "dark", "day")
    found = audited(before, after, groups={"light": light}).populations.over_represented
    row = found[found["group"] == "dark"].iloc[0]
    assert (row["grouping"], row["images"], row["pies"]) == ("light", 5, 3)
    low, high = wilson_interval(3, 4)
    assert (row["ratio"], row["ratio_low"], row["ratio_high"]) == pytest.approx((3.0, low / 0.25, high / 0.25))
    assert found[found["grouping"] == "class"].set_index("group")["ratio"].to_dict() == {"cat": 1.5, "dog": 0.5}


def test_images_of_no_group_do_not_count():
    table = over_represented(np.array(["a", "a", "b", "b", ""]), np.array([True, False, False, False, True]))
    assert table.set_index("group")["ratio"].to_dict() == {"a": 2.0, "b": 0.0}


def test_without_exemplars_no_group_has_a_ratio():
    same = networks([1], [2], [3], [4], [5])
    found = audited(same, same, groups={"half": np.repeat(["one", "two"], 10)}).populations
    assert found.exemplars.empty
    assert found.over_represented["ratio"].isna().all()
    assert found.over_represented["images"].tolist() == [10, 10, 10, 10]


def test_text_labels_and_names_of_the_users_own():
    label = np.array(["b", "a"])[LABEL]
    after = np.array(["b", "a"])[networks(*[[12]] * 5)]
    (row,) = audit_predictions(label, np.array([label] * 5), after).populations.exemplars.to_dict("records")
    assert (row["index"], row["label"], row["after"]) == (12, "a", "b")


@pytest.mark.usefixtures("blank_picture")
def test_tables_are_written_beside_the_audit_and_deleted_by_one_without_them(tmp_path):
    from analysis.audit import result

    result.write(audited(networks(*[[]] * 5), networks(*[[0, 12]] * 5)), tmp_path)
    assert (tmp_path / "pie.csv").read_text().splitlines()[1] == "0,cat,cat,dog,1.0,1.0"
    assert {"audit.csv", "pie_groups.csv"} <= {path.name for path in tmp_path.iterdir()}
    result.write(audited(networks([]), networks([0])), tmp_path)
    assert {path.name for path in tmp_path.glob("*.csv")} == {"audit.csv", "metrics.csv"}
