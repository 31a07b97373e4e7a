"""Tables of risk, from files to the command line, on networks that lose what their scores say."""

import click.testing
import numpy as np
import pandas as pd
import pytest

from analysis.__main__ import cli
from analysis.audit import risk
from analysis.common.errors import StudyError

NAMES = np.array(["cat", "dog", "fox"])
IMAGES = 60
LABEL = np.repeat(np.arange(3), IMAGES)
PLACE = np.tile(np.arange(IMAGES) / IMAGES, 3)
# Cats are sure, foxes are not, and of each the last images least so.
DOUBT = (0.1 + 0.2 * LABEL) * PLACE


def predictions(networks, doubt, seed):
    """Networks that are wrong as often as they doubt."""
    wrong = np.random.default_rng(seed).random((networks, len(LABEL))) < doubt
    return np.where(wrong, (LABEL + 1) % 3, LABEL)


def write(folder, predicted, **arrays):
    folder.mkdir(exist_ok=True)
    for number, each in enumerate(predicted):
        np.savez(folder / f"{number}.npz", label=NAMES[LABEL], predicted=NAMES[each], **arrays)
    return str(folder)


def write_labelled(folder, label, predicted):
    folder.mkdir()
    np.savez(folder / "0.npz", label=NAMES[label], predicted=NAMES[predicted])
    return str(folder)


@pytest.fixture
def sides(tmp_path):
    """Ten networks before, after and in the control, with probabilities before."""
    probabilities = np.empty((len(LABEL), 3))
    for further, share in enumerate((1 - DOUBT, DOUBT * 0.75, DOUBT * 0.25)):
        probabilities[np.arange(len(LABEL)), (LABEL + further) % 3] = share
    return {
        "before": write(tmp_path / "dense", predictions(10, DOUBT / 4, 0), probabilities=probabilities),
        "after": write(tmp_path / "pruned", predictions(10, DOUBT, 1)),
        "control": write(tmp_path / "retrained", predictions(10, DOUBT / 4, 2)),
    }


def test_scores_of_classes_are_those_of_the_networks_before(sides):
    found = risk.risk([sides["before"]])
    assert found.classes["class"].tolist() == ["fox", "dog", "cat"]
    assert found.classes["rank"].tolist() == [1, 2, 3]
    assert found.classes["confidence"].tolist() == pytest.approx(
        [1 - DOUBT[each == LABEL].mean() for each in (2, 1, 0)]
    )
    assert found.classes["margin"].tolist() == pytest.approx(
        [1 - 1.75 * DOUBT[each == LABEL].mean() for each in (2, 1, 0)]
    )
    assert found.judgement.empty
    first = found.images.iloc[0]
    assert (first["label"], first["rank"]) == ("fox", 1)
    assert sorted(found.images["index"]) == list(range(len(LABEL)))


def test_scores_that_say_what_is_lost_are_judged_so(sides):
    judged = risk.risk(*([sides[side]] for side in ("before", "after", "control"))).judgement.set_index(
        ["outcome", "score"]
    )
    assert judged["value"]["class losses", "confidence"] == 1
    assert judged["value"]["lost images", "margin"] > 0.65
    assert judged["n"]["lost images", "margin"] == 5  # half of the networks
    outcomes = {"class losses", "sizes of class losses", "lost images", "lost by the control", "PIEs"}
    assert outcomes == set(judged.index.get_level_values(0))


def test_expected_losses_share_out_the_lost_accuracy_by_the_errors(tmp_path):
    # Of ten images a class, cats have 1 wrong, dogs 2 and foxes 6: the mean error of .3 grows by a tenth.
    wrong = np.arange(10) < np.array([1, 2, 6])[:, np.newaxis]
    label = np.repeat(np.arange(3), 10)
    before = write_labelled(tmp_path / "dense", label, np.where(wrong.ravel(), (label + 1) % 3, label))
    classes = risk.risk([before], accuracy_loss=3).classes.set_index("class")
    assert classes["expected_loss"].to_dict() == pytest.approx({"cat": 0.01, "dog": 0.02, "fox": 0.06})
    # With 40 points, foxes would lose 80 points of recall, but they have only 40.
    classes = risk.risk([before], accuracy_loss=40).classes.set_index("class")
    assert classes["expected_loss"].to_dict() == pytest.approx({"cat": 0.4 / 3, "dog": 0.8 / 3, "fox": 0.4})


def test_the_command_says_the_expected_losses_in_points(tmp_path, sides):
    arguments = ["--before", sides["before"], "--accuracy-loss", "2", "--output", str(tmp_path / "risk")]
    result = click.testing.CliRunner().invoke(cli, ["risk", *arguments])
    assert result.exit_code == 0, result.output
    assert "if pruning costs 2 points of accuracy" in result.output
    fox = pd.read_csv(tmp_path / "risk" / "risk_classes.csv").set_index("class").loc["fox"]
    row = next(line.split() for line in result.output.splitlines() if " fox " in line)
    assert row[-1] == f"{100 * fox['expected_loss']:.1f}"


def test_networks_without_errors_have_no_expected_losses(tmp_path):
    before = write_labelled(tmp_path / "dense", LABEL, LABEL)
    found = risk.risk([before])
    assert found.classes["expected_loss"].isna().all()
    assert " n/a" in risk.summary(found)


def test_the_first_half_of_the_networks_scores_and_the_second_judges(tmp_path):
    # The first two networks doubt foxes, and the other two lose cats.
    before = np.tile(LABEL, (4, 1))
    before[:2, LABEL == 2] = np.where(np.arange(IMAGES) < 6, 0, 2)
    after = np.tile(LABEL, (4, 1))
    after[2:, LABEL == 0] = np.where(np.arange(IMAGES) < 6, 1, 0)
    found = risk.of_predictions(LABEL, {"before": before, "after": after}, {})
    assert found.judgement.set_index(["outcome", "score"])["value"]["class losses", "recall"] < 0
    assert found.classes["class"].tolist()[0] == "2"  # by all four networks
    assert any("first 2 networks are judged by the other 2" in note for note in found.notes)
    assert any("they need 5 networks" in note for note in found.notes)


def test_the_share_of_training_images_is_read_and_judged(sides, tmp_path):
    table = tmp_path / "class_characteristics.csv"
    table.write_text("class,index,training_images\nfox,2,10\ncat,0,50\ndog,1,40\n")
    found = risk.risk([sides["before"]], training_images=table)
    assert found.classes.set_index("class")["share"].to_dict() == {"fox": 0.1, "dog": 0.4, "cat": 0.5}
    assert not any("no share" in note for note in found.notes)


def test_shares_count_the_training_images_of_classes_without_test_images(tmp_path):
    before = write_labelled(tmp_path / "dense", LABEL, np.where(PLACE < 0.1, (LABEL + 1) % 3, LABEL))
    table = tmp_path / "images.csv"
    table.write_text("class,training_images\nemu,70\nfox,10\ncat,10\ndog,10\n")
    assert risk.risk([before], training_images=table).classes["share"].tolist() == [0.1, 0.1, 0.1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("class,training_images\ncat,1\ndog,2\n", "no row for the class fox"),
        ("class,images\ncat,1\n", "columns class and training_images"),
        ("class,training_images\ncat,1\ndog,2\nfox,many\n", "columns class and training_images"),
        ("class,training_images\ncat,1\ndog,2\nfox,-1\n", "one number for each class"),
        ("class,training_images\ncat,1\ndog,2\nfox,1\nfox,2\n", "one number for each class"),
        ("", "columns class and training_images"),
    ],
)
def test_training_images_that_are_missing_or_no_numbers_are_refused(sides, tmp_path, content, message):
    table = tmp_path / "images.csv"
    table.write_text(content)
    with pytest.raises(StudyError, match=message):
        risk.risk([sides["before"]], training_images=table)


def test_a_class_without_test_images_is_named_and_not_scored():
    before = np.tile(LABEL, (4, 1))
    before[0, 0] = 7
    found = risk.of_predictions(LABEL, {"before": before, "after": before}, {})
    assert sorted(found.classes["class"]) == ["0", "1", "2"]
    assert any("without a test image, which are not scored: 7" in note for note in found.notes)


def test_networks_at_chance_count_and_are_said():
    before = np.tile(LABEL, (5, 1))
    before[0] = 0  # it names class 0 alone, and is right about no image of the two others
    found = risk.of_predictions(LABEL, {"before": before}, {})
    assert found.classes.set_index("class")["recall"].to_dict() == pytest.approx({"0": 1, "1": 0.8, "2": 0.8})
    assert "Networks at chance, which are included like the others: 1 of 5 before." in found.notes
    with pytest.raises(StudyError, match="the network before is at chance, so its scores predict nothing"):
        risk.of_predictions(LABEL, {"before": before[:1]}, {})


def test_a_destroyed_network_is_part_of_what_the_scores_are_judged_by():
    rng = np.random.default_rng(0)
    wrong = rng.random((8, len(LABEL))) < [[0.1], [0.2]] * 4
    before = np.where(wrong, (LABEL + 1) % 3, LABEL)
    after = before.copy()
    after[7] = 0
    found, without = (risk.of_predictions(LABEL, {"before": before, "after": each}, {}) for each in (after, before))
    assert "Networks at chance, which are included like the others: 1 of 8 after." in found.notes
    assert "Scores of the first 4 networks are judged by the other 4." in found.notes
    assert not found.judgement.equals(without.judgement)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"before": 3, "after": 3}, "only 3 on each side: give 4 or more"),
        ({"before": 4, "after": 5}, "4 before, 5 after"),
        ({"before": 4, "after": 4, "control": 1}, "4 before, 4 after, 1 control"),
        ({"before": 4, "control": 4}, "give --after too"),
    ],
)
def test_networks_that_cannot_judge_are_refused(counts, message):
    with pytest.raises(StudyError, match=message):
        risk.of_predictions(LABEL, {side: np.tile(LABEL, (count, 1)) for side, count in counts.items()}, {})


def invoke(*options):
    return click.testing.CliRunner().invoke(cli, ["risk", *map(str, options)])


def test_the_command_prints_and_writes_the_tables(sides, tmp_path):
    output = tmp_path / "risk"
    options = [part for side, folder in sides.items() for part in (f"--{side}", folder)]
    result = invoke(*options, "--output", output)
    assert result.exit_code == 0, result.output
    for word in ("fox", "disagreement", "ceiling", "PIEs", "no share of training images"):
        assert word in result.output
    assert pd.read_csv(output / "risk_classes.csv")["class"].tolist() == ["fox", "dog", "cat"]
    assert len(pd.read_csv(output / "risk_images.csv")) == len(LABEL)
    assert set(pd.read_csv(output / "risk_judged.csv")["score"]) >= {"recall", "combined", "ceiling"}
    assert invoke("--before", sides["before"], "--output", output).exit_code == 0
    assert not (output / "risk_judged.csv").exists()


def test_labels_alone_leave_out_three_scores_and_write_no_judgement(tmp_path):
    folder = write(tmp_path / "dense", predictions(2, DOUBT, 0))
    result = invoke("--before", folder, "--output", tmp_path / "risk")
    assert result.exit_code == 0, result.output
    assert "no confidence, margin or entropy" in result.output
    assert sorted(path.name for path in (tmp_path / "risk").glob("*.csv")) == ["risk_classes.csv", "risk_images.csv"]


def test_a_confidence_above_1_ends_in_one_line(tmp_path):
    folder = write(tmp_path / "dense", predictions(2, DOUBT, 0), confidence=np.full(len(LABEL), 2.0))
    result = invoke("--before", folder, "--output", tmp_path / "risk")
    assert result.exit_code == 1
    assert result.output.count("\n") == 1
    assert "has the confidence 2: give probabilities from 0 to 1" in result.output


def test_predictions_are_not_overwritten(tmp_path):
    folder = write(tmp_path / "dense", predictions(2, DOUBT, 0))
    result = invoke("--before", folder, "--output", folder)
    assert result.exit_code == 2
    assert "predictions are read from" in result.output
