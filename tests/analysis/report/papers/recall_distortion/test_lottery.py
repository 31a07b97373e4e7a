"""Lottery tickets beside Table 12: made-up levels of which alpha is known."""

import numpy as np
import pandas as pd
import pytest

from analysis.report import published
from analysis.report.papers.recall_distortion import lottery
from analysis.runs.frames import with_absent_values
from analysis.study.study import StudyData
from tests import made_up_runs

ALPHAS = {"mp": [1.0, 0.8, 1.5], "none": [0.9, 0.9, 0.9]}


def chain(pruner, alphas, *, dataset="cifar10", model="resnet56", seeds=3, treatment="rewind", keep="0.8"):
    """Levels 1, 2, ... of several seeds, each with one of the alphas; seeds differ by .01."""
    levels = []
    for level, alpha in enumerate(alphas, start=1):
        share = 1.0 if pruner == "none" else 0.8**level
        ratio = 1 / (0.02 + 0.98 * share)
        made = made_up_runs.runs(dataset, model, pruner, ratio, [alpha + 0.01 * seed for seed in range(seeds)])
        params = {
            "iteration": str(level),
            "keep": keep,
            "weight_treatment": treatment,
            "ratio_prunable": repr(1 / share),
            "recipe": "lottery",
            "epochs": "80",
            "fine_tune_epochs": "80",
            "batch_size": "128",
            "validation_fraction": "0.04",
        }
        made["run_id"] += f" {level}"
        levels.append(made.assign(**{f"params.{name}": value for name, value in params.items()}))
    return pd.concat(levels, ignore_index=True)


def study(*chains):
    return StudyData(with_absent_values(made_up_runs.study(*chains)))


@pytest.fixture(scope="module")
def tickets():
    return study(*(chain(pruner, alphas) for pruner, alphas in ALPHAS.items()))


def test_levels_stand_beside_those_of_print_and_beside_the_control(tickets):
    """Alphas of three seeds are a, a + .01 and a + .02."""
    found = lottery.levels(tickets)
    mp = found[found["pruner"] == "mp"]
    assert mp["level"].tolist() == [1, 2, 3]
    assert mp["ratio_prunable"].round(2).tolist() == [1.25, 1.56, 1.95]
    assert mp["printed_ratio"].tolist() == [1.25, 1.56, 1.95]
    assert mp["printed_alpha"].tolist() == [1.010, 0.986, 0.970]
    assert mp["alpha_mean"].tolist() == pytest.approx([1.01, 0.81, 1.51])
    assert mp["alpha_minus_none"].tolist() == pytest.approx([0.1, -0.1, 0.6])
    assert mp["alpha_difference"].tolist() == pytest.approx([0.0, -0.176, 0.54])
    assert mp["n"].tolist() == [3, 3, 3]
    assert found.loc[found["pruner"] == "none", "ratio_prunable"].tolist() == [1, 1, 1]


def test_other_networks_stand_beside_print_without_a_difference():
    found = lottery.levels(study(chain("mp", [1.0, 0.9], dataset="mnist"), chain("up", [1.0, 0.9])))
    assert found["printed_alpha"].notna().all()
    assert found["alpha_difference"].isna().all()


def test_a_table_of_a_method_by_hand(tickets):
    found = lottery.levels(tickets)
    table = lottery.level_table(found[found["pruner"] == "mp"])
    assert table.iloc[0].tolist() == ["0", "1.00", "1", "0.800", "0.855", "n/a", "n/a", "n/a", "n/a"]
    second = table.iloc[2]
    assert second.tolist()[:5] == ["2", "1.56", "1.545", "0.800", "0.859"]
    assert second["Alpha"].startswith("0.810 (0.")
    assert second.tolist()[6:] == ["0.986", "-0.100 (-0.100 to -0.100)", "-0.100 (-0.100 to -0.100)"]
    assert len(table) == 4


def test_a_sentence_says_where_alpha_dips_and_rises_beside_print(tickets):
    """The least printed alpha is .932, at level 6; from level 12, 1.029, on all are above 1."""
    page = lottery.section(tickets)
    ours, in_print = page.blocks[0].sentences
    assert "cifar10, resnet56: alpha is lowest at level 2, 0.810; the difference from the control is -0.100 (" in ours
    assert ours.endswith("Alpha's interval lies above 1 from level 3 on.")
    assert in_print == "In print, alpha is lowest at level 6, 0.932, and lies above 1 from level 12 on."


def test_a_sentence_without_a_control_does_not_speak_of_one():
    (sentence, _) = lottery.section(study(chain("mp", [1.0, 0.9]))).blocks[0].sentences
    assert sentence.endswith("alpha is lowest at level 2, 0.910. Alpha's interval does not stay above 1.")


def test_of_a_single_network_alpha_has_no_interval():
    (sentence, _) = lottery.section(study(chain("mp", [1.2, 1.1], seeds=1))).blocks[0].sentences
    assert sentence.endswith("alpha is lowest at level 2, 1.100.")


def test_what_is_not_as_in_print_is_named(tickets):
    (caption,) = (block for block in lottery.section(tickets).blocks if getattr(block, "label", "") == "Table 12.")
    assert caption.text.endswith(
        "resnet56. Here: validation_fraction 0.04, rewind_step 0. Not as in print: 3 networks instead of 10."
    )
    page = lottery.section(study(chain("mp", [1.0, 0.9], dataset="mnist", model="lenet5", seeds=10)))
    (caption,) = (block for block in page.blocks if getattr(block, "label", "") == "Table 12.")
    assert caption.text.endswith("Not as in print: MNIST instead of CIFAR-10, LeNet instead of ResNet-56.")


def test_settings_that_are_not_those_of_print_are_named():
    """A chain of one network in print's recipe, and otherwise nothing as in print."""
    other = {"epochs": "30", "fine_tune_epochs": "15", "validation_fraction": "0.2", "precision": "bf16"}
    made = chain("mp", [1.0, 0.9], seeds=1).assign(**{f"params.{name}": value for name, value in other.items()})
    (caption,) = (b for b in lottery.section(study(made)).blocks if getattr(b, "label", "") == "Table 12.")
    assert "Here: validation_fraction 0.2, rewind_step 0. " in caption.text
    assert caption.text.endswith(
        "Not as in print: 1 network instead of 10, epochs 30 instead of 80, fine_tune_epochs 15 instead of 80, "
        "precision bf16 instead of float32."
    )


@pytest.mark.parametrize(
    "chains",
    [
        [("mp", "finetune", "0.8")],
        [("mp", "rewind", "0.5")],
        [("none", "rewind", "0.8")],
        [("l1-unstructured", "rewind", "0.8")],
    ],
)
def test_studies_without_lottery_tickets_have_no_section(chains):
    made = [chain(pruner, [1.0, 1.1], treatment=treatment, keep=keep) for pruner, treatment, keep in chains]
    assert lottery.section(study(*made)) is None
    assert lottery.section(StudyData(made_up_runs.runs("mnist", "lenet5", "mp", 2, [1.0, 1.1]))) is None


def test_levels_rank_the_weights_of_all_layers_together():
    scopes = {"mp": "layer", "l1-unstructured": "global"}
    made = [chain(pruner, [1.0, 0.9]).assign(**{"params.scope": scope}) for pruner, scope in scopes.items()]
    assert lottery.levels(study(*made))["pruner"].tolist() == ["l1-unstructured"] * 2
    assert lottery.levels(study(made[0])).empty


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("params", [{}, {"keep": "0.8", "weight_treatment": "rewind"}])
def test_runs_without_an_iteration_are_no_levels(params):
    made = made_up_runs.runs("mnist", "lenet5", "mp", 2, [1.0, 1.1])
    logged = made.assign(**{f"params.{name}": value for name, value in params.items()})
    assert lottery.levels(StudyData(logged)).empty


def test_the_picture_has_a_line_for_print(tickets):
    (figure,) = lottery.figures(lottery.levels(tickets), tickets)
    (axes,) = figure.axes
    printed = published.table(12)["Intensification"][1:].astype(float).to_numpy()
    assert any(np.array_equal(line.get_ydata(), printed) for line in axes.get_lines())
