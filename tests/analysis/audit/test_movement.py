"""Where a movement of classes comes from: the Python function, and the audit of files with logits."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import analysis
from analysis.__main__ import cli
from analysis.audit import audit
from analysis.common.errors import StudyError
from analysis.common.printable import folded

LABEL = np.repeat([0, 1, 2], 100)
NAMES = np.array(["bag", "hat", "shoe"])
BEFORE = 2 * np.eye(3)[LABEL] + np.random.default_rng(0).normal(size=(len(LABEL), 3))
# All images seem more like bags, so that bags gain recall and the other classes lose it.
AFTER = BEFORE + np.array([1, 0, 0])


def write(name: str, logits: np.ndarray | None, label: np.ndarray = LABEL, predicted: np.ndarray | None = None) -> str:
    arrays = {} if logits is None else {"logits": logits, "class_names": NAMES}
    answers = logits.argmax(1) if predicted is None and logits is not None else predicted
    np.savez(name, label=label, predicted=answers, **arrays)
    return name


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.chdir(tmp_path)
    return {"before": write("before.npz", BEFORE), "after": write("after.npz", AFTER)}


def check_shift(found):
    """The shift is 1 for bags, so 2/3 and twice -1/3 around their mean, and explains all."""
    assert found.share == found.share_low == 1
    assert found.movement_left == found.changed_left == 0
    assert found.table["class"].tolist() == NAMES.tolist()
    assert found.table["shift"].tolist() == pytest.approx([2 / 3, -1 / 3, -1 / 3])


def test_the_function_says_how_much_the_shift_explains_and_what_undoing_it_does():
    found = analysis.diagnose_movement(LABEL, BEFORE, AFTER, class_names=NAMES)
    check_shift(found)
    right = np.array([(logits.argmax(1) == LABEL).reshape(3, 100).mean(1) for logits in (BEFORE, AFTER)])
    excess = np.diff(right, axis=0)[0] - np.diff(right.mean(1))
    assert found.table["excess"].tolist() == pytest.approx(excess)
    changed = (BEFORE.argmax(1) != AFTER.argmax(1)).mean()
    for number in ("100 (100 to 100) %", f"{-100 * excess.min():.1f} points", f"{100 * changed:.1f} % to 0.0 %"):
        assert number in found.verdict
    assert found.verdict.count(". ") == 1  # two sentences
    assert found.verdict in found._repr_html_()
    assert str(found).startswith(folded(found.verdict))


def test_labels_may_be_unsigned_and_logits_integers():
    whole = np.round(10 * BEFORE).astype(int)
    found = analysis.diagnose_movement(LABEL.astype(np.uint64), whole, whole + np.array([10, 0, 0]))
    assert found.share == 1
    assert found.table["shift"].tolist() == pytest.approx([20 / 3, -10 / 3, -10 / 3])


def test_several_networks_are_one_array():
    found = analysis.diagnose_movement(LABEL, [BEFORE, BEFORE], [AFTER, AFTER], class_names=NAMES)
    check_shift(found)
    worst = found.table.loc[found.table["excess"].idxmin()]
    # Of one network it is chance movement; of several it is what the same class costs, with the shift and without.
    cost = f"the mean cost of {worst['class']}, the largest in these networks, from {-100 * worst['excess']:.1f} to"
    assert cost in found.verdict
    assert "the chance movement" in analysis.diagnose_movement(LABEL, BEFORE, AFTER).verdict


def test_nothing_is_said_of_a_shift_where_classes_did_not_move():
    noise = 0.5 * np.random.default_rng(1).normal(size=BEFORE.shape)
    found = analysis.diagnose_movement(LABEL, BEFORE, BEFORE + noise)
    assert np.isnan(found.share)
    assert "noise" in found.verdict
    assert "the same class before and after" in analysis.diagnose_movement(LABEL, BEFORE, 2 * BEFORE).verdict


@pytest.mark.usefixtures("blank_picture")
def test_an_audit_of_files_with_logits_has_the_diagnosis(files):
    result = audit.audit([files["before"]], [files["after"]])
    assert list(result.movements) == ["after"]
    check_shift(result.movements["after"])
    printed = CliRunner().invoke(cli, ["audit", "--before", files["before"], "--after", files["after"]])
    assert result.movements["after"].verdict in " ".join(printed.output.split())


def test_the_control_is_diagnosed_too_and_networks_are_paired(files):
    control = [write(f"control-{seed}.npz", AFTER) for seed in (0, 1)]
    after = [write(f"after-{seed}.npz", BEFORE + np.array([0, seed, 0])) for seed in (0, 1)]
    result = audit.audit([files["before"]], after, control)
    assert list(result.movements) == ["control", "after"]
    check_shift(result.movements["control"])
    assert result.movements["after"].table["shift"].tolist() == pytest.approx([-1 / 6, 1 / 3, -1 / 6])


def test_a_control_that_is_the_network_before_is_not_diagnosed(files):
    assert list(audit.audit([files["before"]], [files["after"]], [files["before"]]).movements) == ["after"]


def test_without_logits_in_all_files_nothing_is_said(files):
    plain = write("plain.npz", None, predicted=AFTER.argmax(1))
    result = audit.audit([files["before"]], [plain])
    assert not result.movements
    assert not any("logits" in note for note in result.notes)


def test_logits_that_do_not_fit_are_said_and_the_audit_goes_on(files):
    few = np.arange(len(LABEL)) % 100 < 20
    sides = [write(f"few-{name}.npz", each[few], LABEL[few]) for name, each in (("0", BEFORE), ("1", AFTER))]
    result = audit.audit(*([each] for each in sides))
    (note,) = (note for note in result.notes if "logits" in note)
    assert "has 20 images" in note
    assert not result.movements
    assert len(result.table) == 3


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"after": [AFTER, AFTER]}, "1 networks before and 2 after"),
        ({"after": AFTER[:, :2]}, "shapes"),
        ({"after": AFTER[:-1]}, "shapes"),
        ({"label": LABEL[:-1]}, "labels"),
        ({"label": LABEL + 1}, "label 3"),
        ({"before": np.full_like(BEFORE, np.nan)}, "finite"),
        ({"class_names": ["bag"]}, "class_names has 1"),
        ({"after": [[1.0], [2.0, 3.0]]}, "rows of equal length"),
        ({"before": np.zeros(3), "after": np.zeros(3)}, "shapes"),
        ({"before": np.zeros((0, 300, 3)), "after": np.zeros((0, 300, 3))}, "0 networks"),
    ],
)
def test_what_does_not_fit_is_one_line(changed, word):
    with pytest.raises(StudyError, match=word) as caught:
        analysis.diagnose_movement(**{"label": LABEL, "before": BEFORE, "after": AFTER, **changed})
    assert "\n" not in str(caught.value)
