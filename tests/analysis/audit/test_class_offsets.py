"""Class offsets for files of logits: the command, and what it refuses."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import analysis
from analysis.__main__ import cli
from analysis.audit import class_offsets
from analysis.common.errors import StudyError
from tests.error_lines import error_line

LABEL = np.repeat([0, 1, 2], 100)
NAMES = np.array(["bag", "hat", "shoe"])


def logits(seed: int, favoured: float = 0.0) -> np.ndarray:
    """Return logits that favour class 0 by a number."""
    noise = np.random.default_rng(seed).normal(size=(len(LABEL), 3))
    return 2 * np.eye(3)[LABEL] + noise + [favoured, 0, 0]


def run(*arguments: str):
    return CliRunner().invoke(cli, ["offsets", *arguments])


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Logits of a network, and of one that favours bags, for two sets of images."""
    monkeypatch.chdir(tmp_path)
    for place, images in enumerate(("", "test_")):
        for name, favoured in (("before", 0), ("after", 1)):
            np.savez(f"{images}{name}.npz", logits=logits(place, favoured), label=LABEL, class_names=NAMES)
    return tmp_path


BOTH = ("--before", "before.npz", "--after", "after.npz")


def test_offsets_take_back_what_favours_a_class(files):
    result = run(*BOTH, "--shrinkage", "0")
    assert result.exit_code == 0, result.output
    table = pd.read_csv("class_offsets.csv")
    assert table["class"].tolist() == NAMES.tolist()
    # Relative to the others, class 0 loses the 1 that it was favoured by.
    assert (table["offset"] - table["offset"].mean()).tolist() == pytest.approx([-2 / 3, 1 / 3, 1 / 3], abs=0.15)
    assert "On 300 images, each with offsets that were fitted on other images" in result.output


def test_the_effect_is_that_on_the_test_images_where_they_are_given(files):
    result = run(*BOTH, "--test-before", "test_before.npz", "--test-after", "test_after.npz", "--output", "a/b.csv")
    assert result.exit_code == 0, result.output
    assert "On 300 test images" in result.output
    found = class_offsets.fit_files(*map(Path, ("before.npz", "after.npz", "test_before.npz", "test_after.npz")))
    before, after = logits(1), logits(1, 1)
    right = {
        "before": before.argmax(1) == LABEL,
        "after": after.argmax(1) == LABEL,
        "with offsets": (after + found.offsets).argmax(1) == LABEL,
    }
    accuracy = found.effect[found.effect["measure"] == "accuracy"].set_index("network")["value"]
    assert accuracy.to_dict() == pytest.approx({name: each.mean() for name, each in right.items()})
    recall = {name: each.reshape(3, 100).mean(1) for name, each in right.items()}
    loss = found.effect[found.effect["measure"] == "largest loss"].set_index("network")
    for name in ("after", "with offsets"):
        lost = (recall["before"] - recall[name]).round(9)
        assert (loss["class"][name], loss["value"][name]) == (NAMES[lost.argmax()], pytest.approx(lost.max()))
        assert loss["low"][name] < lost.max() < loss["high"][name]
    weakest = found.effect[found.effect["measure"] == "weakest recall"].set_index("network")["value"]
    assert weakest.to_dict() == pytest.approx({name: each.min() for name, each in recall.items()})
    assert found.accuracy_change == pytest.approx(accuracy["with offsets"] - accuracy["after"])
    assert found.accuracy_change_low < found.accuracy_change < found.accuracy_change_high


def test_one_test_image_of_each_class_will_do():
    one = slice(None, None, 100)
    found = analysis.fit_class_offsets(LABEL, logits(0), logits(0, 1), (LABEL[one], logits(1)[one], logits(1, 1)[one]))
    assert (found.images, found.tested) == (3, True)


def test_the_function_does_what_the_command_does(files):
    found = analysis.fit_class_offsets(LABEL, logits(0), logits(0, 1), class_names=NAMES)
    of_files = class_offsets.fit_files(Path("before.npz"), Path("after.npz"))
    assert found.offsets.tolist() == of_files.offsets.tolist()
    assert found.verdict == of_files.verdict
    assert found.verdict.startswith("Offsets change the largest loss of a class from ")
    assert "<table" in found._repr_html_()
    assert str(found) == class_offsets.summary(found)


def test_whole_numbers_of_any_type_are_labels_and_logits():
    before, after = (np.round(10 * each) for each in (logits(0), logits(0, 1)))
    expected = analysis.fit_class_offsets(LABEL, before, after).offsets.tolist()
    for label in (LABEL.astype(object), LABEL.astype(np.uint64)):
        found = analysis.fit_class_offsets(label, before.astype(np.int8), after.astype(np.int64))
        assert found.offsets.tolist() == expected


def test_equal_networks_need_no_offsets(files):
    result = run("--before", "before.npz", "--after", "before.npz")
    assert "No class changed differently from the accuracy: all offsets are 0." in result.output
    assert " 0.0 (" in result.output
    assert "-0.0 (" not in result.output
    assert pd.read_csv("class_offsets.csv")["offset"].tolist() == [0, 0, 0]


def test_an_excess_that_is_noise_is_not_said_to_be_none(files):
    result = run("--before", "before.npz", "--after", "after.npz", "--shrinkage", "1e9")
    assert (
        "All offsets are 0: classes changed differently from the accuracy only by noise, or no offsets undo"
        in result.output
    )
    assert pd.read_csv("class_offsets.csv")["offset"].tolist() == [0, 0, 0]


def test_probabilities_of_16_bits_are_read(files):
    for name in ("before", "after"):
        arrays = dict(np.load(f"{name}.npz"))
        np.savez(f"{name}16.npz", logits=arrays["logits"].astype(">f2"), label=LABEL.astype(np.uint8))
    assert run("--before", "before16.npz", "--after", "after16.npz").exit_code == 0
    assert pd.read_csv("class_offsets.csv")["class"].tolist() == [0, 1, 2]


def save(name: str, **changed: np.ndarray) -> None:
    arrays = {"logits": logits(0), "label": LABEL, **changed}
    np.savez(name, **{key: value for key, value in arrays.items() if value is not None})


def refused(*arguments: str) -> str:
    result = run(*arguments)
    assert result.exit_code in (1, 2)
    assert "Traceback" not in result.output
    assert not Path("class_offsets.csv").exists()
    return error_line(result.output)


WITH_NAN = logits(0)
WITH_NAN[7, 1] = np.nan


@pytest.mark.attack
@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"logits": WITH_NAN}, "bad.npz: the logits of image 8 contain NaN or infinite numbers"),
        ({"logits": np.full((300, 3), np.inf)}, "bad.npz: the logits of image 1 contain NaN or infinite numbers"),
        ({"logits": logits(0)[:, 0]}, "bad.npz: logits must be floats, (images, classes)"),
        ({"logits": logits(0).astype(int)}, "bad.npz: logits must be floats"),
        ({"logits": logits(0)[:0], "label": LABEL[:0]}, "bad.npz: logits must be floats"),
        ({"label": LABEL[:-1]}, "bad.npz: label must be a whole number for each of 300 images"),
        ({"label": LABEL * 1.0}, "bad.npz: label must be a whole number for each of 300 images"),
        ({"label": LABEL + 1}, "bad.npz: image 201 has the label 3, but the 3 columns of logits are numbered from 0"),
        ({"label": LABEL - 1}, "bad.npz: image 1 has the label -1"),
        ({"label": None}, "bad.npz: no array label in it"),
        ({"class_names": NAMES[:2]}, "bad.npz: class_names must be a string for each of 3 classes"),
        ({"class_names": NAMES[[0, 1, 0]]}, "bad.npz: class_names has 'bag' twice: give each class a different name"),
        (
            {"class_names": NAMES[::-1]},
            "bad.npz: class 0 is 'shoe', but in before.npz it is 'bag': give logits of the same",
        ),
        (
            {"logits": logits(0)[:, :2], "label": LABEL % 2},
            "logits have shape (300, 2), but (300, 3) in before.npz",
        ),
        ({"label": LABEL[::-1]}, "bad.npz: image 1 is labelled 2, but 0 in before.npz"),
    ],
)
def test_a_damaged_file_of_logits__is_one_line(files, changed, said):
    save("bad.npz", **changed)
    assert said in refused("--before", "before.npz", "--after", "bad.npz")


@pytest.mark.attack
def test_too_few_images_for_class_offsets__are_refused_with_the_number_that_would_do(files):
    for name in ("before", "after"):
        save(f"few_{name}.npz", logits=logits(0)[:239], label=LABEL[:239])
    said = refused("--before", "few_before.npz", "--after", "few_after.npz")
    assert "class 2 has 39 images, too few to fit its offset" in said
    assert "give at least 40 images of each class" in said


@pytest.mark.attack
def test_a_class_without_test_images__is_one_line(files):
    save("two.npz", logits=logits(0)[:200], label=LABEL[:200])
    said = refused(*BOTH, "--test-before", "two.npz", "--test-after", "two.npz")
    assert "no test image is of class 'shoe': give at least one of each class" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--before", "gone.npz", "--after", "after.npz"), "gone.npz: No such file"),
        ((*BOTH, "--test-before", "test_before.npz"), "--test-after: test images need the logits of both networks"),
        ((*BOTH, "--shrinkage", "nan"), "--shrinkage: shrinkage is nan"),
        ((*BOTH, "--shrinkage", "-1"), "-1"),
        ((*BOTH, "--max-data-gib", "1e-6"), "--max-data-gib"),
        ((*BOTH, "--output", "."), "--output"),
    ],
)
def test_what_a_user_can_mend_is_one_line(files, arguments, said):
    assert said in refused(*arguments)


@pytest.mark.attack
@pytest.mark.parametrize("place", ["before", "after", "test_before", "test_after"])
def test_offsets_written_to_a_file_of_logits__are_refused_and_the_logits_stay(files, place):
    given = Path(f"{place}.npz").read_bytes()
    Path("link.csv").symlink_to(f"{place}.npz")
    tests = ("--test-before", "test_before.npz", "--test-after", "test_after.npz")
    for output in (f"{place}.npz", str(Path(f"{place}.npz").absolute()), "link.csv"):
        assert f"--output: logits are read from {output}" in refused(*BOTH, *tests, "--output", output)
        assert Path(output).read_bytes() == given


def test_test_images_of_other_classes_are_one_line(files):
    save("two_before.npz", logits=logits(0)[:, :2], label=LABEL % 2)
    tests = ("--test-before", "two_before.npz", "--test-after", "two_before.npz")
    assert "two_before.npz has logits of 2 classes, but before.npz has 3" in refused(*BOTH, *tests)


def test_test_images_whose_classes_have_other_names_are_one_line(files):
    save("unnamed.npz")
    save("other.npz", class_names=np.array(["bag", "sock", "shoe"]))
    tests = ("--test-before", "unnamed.npz", "--test-after", "other.npz")
    said = refused("--before", "unnamed.npz", "--after", "after.npz", *tests)
    assert "other.npz: class 1 is 'sock', but in after.npz it is 'hat'" in said


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"class_names": ["bag", "hat"]}, "class_names has 2 names for 3 classes"),
        ({"class_names": [], "label": LABEL % 3 // 2}, "class_names has 0 names for 3 classes"),
        (
            {"test": (LABEL % 2, logits(0)[:, :2], logits(1)[:, :2])},
            "test logits have 2 classes, but the other logits 3",
        ),
        (
            {"test": (np.arange(400) % 4, *[np.eye(4)[np.arange(400) % 4]] * 2)},
            "test logits have 4 classes, but the other logits 3",
        ),
        ({"test": (LABEL, logits(1))}, "test has 2 arrays: give three, the label, before and after"),
        (
            {"test": (LABEL, logits(0), [[1.0, 2.0, 3.0], [4.0]])},
            "label, before and after must each have rows of equal length",
        ),
        (
            {
                "label": LABEL[:239],
                "before": logits(0)[:239],
                "after": logits(1)[:239],
                "class_names": pd.Series(NAMES, [5, 6, 7]),
            },
            "class 'shoe' has 39 images",
        ),
        ({"after": [[1.0, 2.0, 3.0], [4.0]]}, "label, before and after must each have rows of equal length"),
    ],
)
def test_what_a_caller_can_mend_is_one_line(changed, said):
    with pytest.raises(StudyError, match=said):
        analysis.fit_class_offsets(**{"label": LABEL, "before": logits(0), "after": logits(1), **changed})
