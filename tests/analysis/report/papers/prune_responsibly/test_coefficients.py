import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.report.papers.prune_responsibly.coefficients import fitted, fitted_rows, survival
from analysis.statistics import regression
from analysis.study.study import StudyData
from tests import made_up_levels, made_up_runs


def unalike(runs):
    """Give each class of each dense network an accuracy of its own, so that no quartile is that of a class."""
    rng = np.random.default_rng(0)
    for name in made_up_levels.CLASSES:
        shift = pd.Series(rng.normal(size=runs["dense_run_id"].nunique()) / 20, runs["dense_run_id"].unique())
        for column in (f"recall_before/{name}", f"recall_after/{name}"):
            runs[column] = (runs[column] + runs["dense_run_id"].map(shift)).clip(0, 1)
    return runs


RUNS = unalike(made_up_levels.runs(levels=6, seeds=4))
KNOWN = made_up_levels.characteristics(RUNS)


def of(runs, known=KNOWN):
    return fitted(StudyData(runs, characteristics=known))


def test_the_fit_is_over_pruned_networks_alone():
    both = made_up_runs.study(RUNS, made_up_levels.runs(pruners=["none"], levels=6, seeds=4))
    rows = fitted_rows(both, KNOWN)
    assert len(rows) == 2 * 2 * 4 * 6 * 4  # techniques, treatments, seeds, levels, classes
    assert rows["iteration"].min() == 1
    assert set(rows["pruning_technique"]) == {"global-unstructured", "l1-structured"}


def test_networks_at_chance_count_and_their_number_is_said():
    """A network that always names class 0 is right about a quarter of the images.

    Up to 120 right of 400 are chance. l1-structured with rewinding has 153 or more right at level 3, and at most
    113 from level 4 on: three levels of four seeds guess already.
    """
    guessing = RUNS.copy()
    guessing.loc[5, [f"recall_after/{name}" for name in made_up_levels.CLASSES]] = [1.0, 0.0, 0.0, 0.0]
    guessing.loc[5, "accuracy_after"] = 0.25
    found = of(guessing)
    assert found.notes[0] == "regression: 13 of 96 pruned networks are at chance, and are included"
    assert found.fitted.rows[["network", "iteration"]].drop_duplicates().shape[0] == 96
    assert not np.allclose(found.table["coefficient"], of(RUNS).table["coefficient"])


def test_a_guessing_control_is_not_counted():
    control = made_up_levels.runs(pruners=["none"], levels=6, seeds=4).assign(accuracy_after=0.25)
    found = of(made_up_runs.study(RUNS, control))
    pd.testing.assert_frame_equal(found.table, of(RUNS).table)
    assert found.notes[0] == "regression: 12 of 96 pruned networks are at chance, and are included"


@pytest.fixture(scope="module")
def found():
    return of(RUNS)


def test_a_term_has_its_printed_value(found):
    row = found.table.set_index("term").loc["imbalance"]
    assert (row["published"], row["published_low"], row["published_p"]) == (1.2429, 1.197, 0.0)
    assert "regression: dataset has fewer than two levels (mnist), and is left out" in found.notes


def test_magnitude_pruning_has_the_same_printed_values_under_both_of_its_names(found):
    """The alphabet has `mp` after `l1-structured`, but `global-unstructured`, the reference in print, before it."""
    renamed = of(RUNS.assign(pruner=RUNS["pruner"].replace("global-unstructured", "mp"))).table
    names = ["term", "coefficient", "published", "published_p", "p_dense"]
    pd.testing.assert_frame_equal(renamed[names], found.table[names])
    assert renamed["published_p"].notna().sum() > 0


@pytest.mark.parametrize(("error", "groups"), [("network", "network"), ("dense", "dense_run_id"), ("class", "class")])
def test_errors_of_few_groups_are_those_of_fits_that_leave_out_one(found, error, groups):
    rows, coefficients = found.fitted.rows, found.table["coefficient"]
    without = [regression.fit(rows[rows[groups] != name])["coefficient"] for name in rows[groups].unique()]
    spread = sum((other - coefficients) ** 2 for other in without)
    expected = np.sqrt((1 - 1 / len(without)) * spread)
    np.testing.assert_allclose(found.table[f"se_{error}"], expected, rtol=1e-5)
    p = 2 * stats.t.sf(np.abs(coefficients / expected), len(without) - 1)
    np.testing.assert_allclose(found.table[f"p_{error}"], p, rtol=1e-4)


def test_many_networks_have_errors_clustered_by_them():
    runs = unalike(made_up_levels.runs(levels=2, seeds=8))
    found = of(runs, made_up_levels.characteristics(runs))
    assert found.fitted.rows["network"].nunique() == 32
    pd.testing.assert_series_equal(found.table["se_network"], found.table["se_clustered"], check_names=False)


def test_the_model_without_products_has_coefficients_errors_and_p_values(found):
    expected = regression.fit(found.fitted.rows, crossed=False).set_index("term")
    table = found.table.set_index("term")
    assert table["linear"].notna().sum() == len(expected) < len(table)
    for name, column in {"linear": "coefficient", "linear_se": "se", "linear_p": "p"}.items():
        np.testing.assert_allclose(table.loc[expected.index, name], expected[column])
    assert len(found.linear.coefficients) == len(expected)


def test_a_technique_that_is_only_rewound_is_held_against_its_own_printed_value_and_that_of_its_rewinding():
    only_rewound = (RUNS["pruner"] == "l1-structured") & (RUNS["params.weight_treatment"] == "finetune")
    table = of(RUNS[~only_rewound].reset_index(drop=True)).table
    terms = table.set_index("term")
    assert "weight_treatment[T.rewind]:pruning_technique[T.l1-structured]" not in terms.index
    structured = terms.loc["pruning_technique[T.l1-structured]"]
    assert structured["published"] == pytest.approx(0.4721 - 0.1592)
    assert structured[["published_low", "published_high", "published_p"]].isna().all()
    assert "pruning_technique[T.l1-structured]" not in survival(table)["term"].tolist()
    assert terms.at["weight_treatment[T.rewind]", "published"] == 0.0670


def test_without_characteristics_their_terms_are_left_out():
    terms = of(RUNS, None).table["term"].tolist()
    assert "imbalance" not in terms
    assert "class_entropy" not in terms


def test_a_study_without_levels_has_no_fit_and_one_with_too_few_rows_says_so():
    assert of(made_up_runs.runs("toy", "net", "mp", 10, [1.0]), None).table.empty
    few = of(made_up_levels.runs(pruners=["l1-structured"], treatments=["rewind"], seeds=1, levels=1))
    assert few.table.empty
    assert len(few.notes) == 1
    assert "it needs more rows than terms" in few.notes[0]


def test_survival_counts_signs_and_each_kind_of_error():
    values = {
        "term": list("abcde"),
        "coefficient": [1.0, 1.0, 1.0, -1.0, 1.0],
        "published": [2.0, 2.0, 2.0, 2.0, 2.0],
        "published_p": [0.0, 0.0, 0.0, 0.0, 0.3],
        "p": [0.01, 0.01, 0.2, 0.01, 0.01],
        "p_network": [0.01, 0.2, 0.2, 0.01, 0.01],
        "p_dense": [0.01, 0.2, 0.2, 0.01, 0.01],
        "p_class": [0.2, 0.2, 0.2, 0.01, 0.01],
    }
    rows = survival(pd.DataFrame(values)).set_index("term")
    assert rows.index.tolist() == list("abcd")  # e is not significant in print
    assert rows["same_sign"].tolist() == [True, True, True, False]
    assert rows["hac"].tolist() == [True, True, False, False]
    assert rows["network"].tolist() == [True, False, False, False]
    assert not rows["class"].any()


def test_effects_that_made_the_data_are_found():
    # Class c loses loss * sparsity * (1 + c / 10): structured loses .4 more of it than unstructured.
    runs = made_up_levels.runs(treatments=["finetune"], levels=8, seeds=3)
    found = of(runs).table.set_index("term")
    slope = found.loc["np.exp(sparsity):pruning_technique[T.l1-structured]", "coefficient"]
    assert slope == pytest.approx(-0.4 * 1.15 / 1.5, rel=0.2)  # e^s has a slope of 1.5 or so over these sparsities
