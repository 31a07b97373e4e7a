"""What proportional errors predict of the printed tables, as worked out from print by hand."""

import proportion
import pytest


@pytest.fixture(scope="module")
def printed():
    return proportion.printed().set_index(["table", "networks"])


def test_odds_ratios_of_table_13_stand_beside_its_alpha(printed):
    chip = printed.loc[(13, "CHIP")]
    # .066 / .934 over .114 / .886, and so on
    assert chip["odds_ratio"].round(3).tolist() == [0.549, 0.676, 1.040, 1.660]
    assert chip["alpha"].tolist() == [0.516, 0.650, 0.985, 1.494]
    first = chip.iloc[0]
    assert (first["error_growth"], first["raw_slope"]) == pytest.approx((0.066 / 0.114, 0.516 * 0.934 / 0.886))


def test_variances_of_table_11_say_which_accuracy_would_be_in_proportion(printed):
    row = printed.loc[(11, "MNIST @ LeNet -> MP")].set_index("ratio").loc[50]
    slope = (0.0111 / 0.0038) ** 0.5
    assert (row["raw_slope"], row["accuracy"]) == pytest.approx((slope, 1 - slope * 0.011))


def test_every_row_of_the_printed_tables_is_there(printed):
    assert printed.groupby(level="table").size().to_dict() == {11: 55, 12: 20, 13: 4}
