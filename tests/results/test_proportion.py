"""What proportional errors predict of the printed tables, and the tests of model sizes, as worked out by hand."""

from pathlib import Path

import numpy as np
import proportion
import pytest
from published import Study

from tests import made_up_runs


@pytest.fixture(scope="module")
def printed():
    return proportion.printed(Study(Path())).set_index(["table", "networks"])


def test_odds_ratios_of_table_13_stand_beside_its_alpha(printed):
    chip = printed.loc[("Table 13", "CHIP")]
    # .066 / .934 over .114 / .886, and so on
    assert chip["odds_ratio"].round(3).tolist() == [0.549, 0.676, 1.040, 1.660]
    assert chip["alpha"].tolist() == [0.516, 0.650, 0.985, 1.494]
    first = chip.iloc[0]
    assert (first["error_growth"], first["raw_slope"]) == pytest.approx((0.066 / 0.114, 0.516 * 0.934 / 0.886))


def test_variances_of_table_11_say_which_accuracy_would_be_in_proportion(printed):
    row = printed.loc[("Table 11", "MNIST @ LeNet -> MP")].set_index("ratio").loc[50]
    slope = (0.0111 / 0.0038) ** 0.5
    assert (row["raw_slope"], row["accuracy"]) == pytest.approx((slope, 100 * (1 - slope * 0.011)))


def test_the_papers_tests_and_sentences_compare_widths_and_ratios_of_both_schedules():
    alphas = {"lenet5-double": [1.0, 1.1, 1.2], "lenet5": [1.1, 1.2, 1.3], "lenet5-half": [1.5, 1.6, 1.7]}
    study = Study(Path())
    study.chosen = made_up_runs.study(
        *(
            made_up_runs.runs("mnist", model, "mp", ratio, np.add(own, more), schedule=schedule, ramp=ramp, regrow=ramp)
            for model, own in alphas.items()
            for ratio, schedule, ramp, more in ((10, "one-shot", "", 0), (20, "cubic", "0.5", [0.1, 0.2, 0.3]))
        )
    ).assign(study="width", **{"params.ramp_steps": ""})
    table = proportion.tests_of_sizes(study).set_index(["table", "column", "row"])["difference"]
    assert table.to_dict() == pytest.approx(
        {
            **{(1, f"{model} (MP)", "10 vs 20"): -0.2 for model in ("lenet5-half", "LeNet", "lenet5-double")},
            **{(5, f"t={ratio} (MP)", "lenet5-half vs LeNet"): 0.4 for ratio in (10, 20)},
            **{(5, f"t={ratio} (MP)", "LeNet vs lenet5-double"): 0.1 for ratio in (10, 20)},
        }
    )
    judged = proportion.smaller_models(study)
    assert judged["slug"].unique().tolist() == ["smaller-models-intensify"]
    assert sorted(judged["estimate"].round(9)) == pytest.approx([0.1, 0.1, 0.4, 0.4, 0.5, 0.5])
