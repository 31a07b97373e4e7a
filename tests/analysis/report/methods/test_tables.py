"""Methods compared as text: what is said at which ratios, and how much fits."""

import numpy as np
import pandas as pd
import pytest

from analysis.report.methods import tables
from analysis.report.methods.compare import METHOD_COLUMNS, OUTCOMES


def rows(method="up", baseline="mp", comparison="pruner", ratio=10.0, **of_outcomes):
    """One comparison: a dict of columns for each outcome, else no difference."""
    for outcome in OUTCOMES:
        yield {
            **dict.fromkeys(METHOD_COLUMNS, np.nan),
            **{"dataset": "mnist", "model": "lenet5", "ratio": ratio, "comparison": comparison},
            **{"method": method, "baseline": baseline, "outcome": outcome, "primary": False},
            **{"alternative": "two-sided", "difference": 0.0, "p_holm": 1.0, "n": 30, "n_at_chance": 0},
            **of_outcomes.get(outcome, {}),
        }


HIGHER, LOWER = {"difference": 0.1, "p_holm": 0.01}, {"difference": -0.1, "p_holm": 0.01}


def by_ratio(*comparisons):
    table, left_out = tables.by_ratio(pd.DataFrame([row for each in comparisons for row in each]))
    return table.to_dict("records"), left_out


def test_ratios_stand_under_what_is_said_of_them():
    (row,), left_out = by_ratio(
        rows(ratio=2.0, accuracy=HIGHER, alpha_beyond=LOWER),
        rows(ratio=4.0, accuracy=LOWER, raw_slope=HIGHER),
        rows(ratio=10.0, accuracy=LOWER, raw_slope=HIGHER),
        rows(ratio=20.0, accuracy=LOWER, raw_slope=HIGHER | {"p_holm": 0.06}),
        rows(ratio=50.0, raw_slope=HIGHER),
    )
    assert left_out == 0
    assert row == {
        "comparison": "up − mp",
        "accuracy": "higher: 2; lower: 4–20",
        "chance movement": "–",
        "raw slope": "higher: 4, 10, 50",
        "alpha beyond proportion": "lower: 2",
        "systematic cost": "–",
    }


def test_the_classes_that_pay_more_and_less_are_named_with_the_ratios():
    more = {"cost_class": "Shirt", "cost": 0.01, "cost_p": 0.01}
    more |= {"spared_class": "Bag", "spared": -0.01, "spared_p": 0.02}
    (row,), _ = by_ratio(
        rows(ratio=2.0),
        rows(ratio=10.0, largest_excess=more),
        rows(ratio=20.0, largest_excess=more | {"spared": 0.005}),
        rows(ratio=50.0, largest_excess=more | {"cost_p": 0.06}),  # another class is shown to lose more
    )
    assert row["systematic cost"] == "Shirt higher: 10, 20; Bag lower: 20"
    assert row["chance movement"] == "–"


def test_where_most_networks_guess_nothing_else_is_said():
    guessing = {"n": 3, "n_at_chance": 27}
    (row,), _ = by_ratio(
        rows(ratio=2.0, accuracy=HIGHER), rows(ratio=50.0, **dict.fromkeys(OUTCOMES, HIGHER | guessing))
    )
    assert (row["accuracy"], row["raw slope"], row["at chance"]) == ("higher: 2", "–", "50")


def test_all_ratios_and_a_single_one():
    (row,), _ = by_ratio(rows(ratio=2.0, accuracy=LOWER), rows(ratio=4.0, accuracy=LOWER, raw_slope=HIGHER))
    assert (row["accuracy"], row["raw slope"]) == ("lower: all", "higher: 4")
    assert row["alpha beyond proportion"] == "–"
    (row,), _ = by_ratio(rows(ratio=2.0, accuracy=LOWER))
    assert row["accuracy"] == "lower: 2"


def test_the_plainest_methods_come_first_and_the_control_last():
    of_control = [rows(f"m{number}", "none", "control") for number in range(5)]
    plain = [rows(f"m{number}") for number in range(5)]
    many = [rows(f"m{number} cubic", "mp cubic") for number in range(3)]
    found, left_out = by_ratio(*of_control, *many, *plain)
    assert [row["comparison"] for row in found] == [
        *(f"m{number} − mp" for number in range(5)),
        *(f"m{number} cubic − mp cubic" for number in range(3)),
        "m0 − none",
    ]
    assert left_out == 4


def test_primary_comparisons_are_shown_in_full():
    of_primary = {"primary": True, "difference_low": -0.074, "difference_high": -0.008, "difference": -0.041}
    told = rows(
        "mp cubic",
        ratio=20.0,
        accuracy=of_primary | {"p_holm": 0.0001, "alternative": "less"},
        alpha_new=of_primary | {"p_holm": 0.032},
        alpha=of_primary | {"p_holm": np.nan},
        alpha_beyond={"difference": 0.1, "difference_low": 0.05, "difference_high": 0.2},
    )
    found = tables.primary(pd.DataFrame(told)).to_dict("records")
    assert found == [
        {
            "comparison": "mp cubic − mp, ratio 20",
            "outcome": outcome,
            "difference": difference,
            "p (Holm)": p,
            "n": "30",
            "alpha beyond proportion": beyond,
        }
        for outcome, difference, p, beyond in (
            ("accuracy, points", "-4.1 (-7.4 to -0.8)", "<0.001, one-sided", ""),
            ("alpha (new)", "-0.04 (-0.07 to -0.01)", "0.032", "+0.10 (+0.05 to +0.20)"),
            ("alpha", "-0.04 (-0.07 to -0.01)", "n/a", "+0.10 (+0.05 to +0.20)"),
        )
    ]


def test_data_sets_are_in_the_order_of_print_and_one_of_several_is_named_where_it_is_alone():
    told = [
        pd.DataFrame(rows(accuracy=HIGHER | {"primary": name == "cifar10"})).assign(dataset=name)
        for name in ("cifar10", "fashion-mnist", "mnist")
    ]
    found, _ = tables.by_ratio(pd.concat(told, ignore_index=True))
    assert found["dataset"].tolist() == ["mnist", "fashion-mnist", "cifar10"]
    assert tables.primary(pd.concat(told, ignore_index=True))["dataset"].tolist() == ["cifar10"]


@pytest.mark.parametrize("name", ["dataset", "model"])
def test_several_data_sets_and_models_have_a_column(name):
    one, two = (pd.DataFrame(rows(accuracy=HIGHER)) for _ in range(2))
    found, _ = tables.by_ratio(pd.concat([one, two.assign(**{name: "other"})], ignore_index=True))
    assert found[name].nunique() == 2
    assert {"dataset", "model"} & set(found) == {name}
