import itertools
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy.special import expit

from analysis.common.errors import StudyError
from analysis.report import published
from analysis.statistics.regression import (
    estimate,
    fit,
    fractional_logit,
    jackknife_errors,
    one_tailed,
)

FORMULA = (
    "accuracy ~ dataset + model + weight_treatment*pruning_technique + np.exp(sparsity)*(dataset + pruning_technique"
    " + accuracy0) + sparsity + accuracy0*(weight_treatment + pruning_technique + accuracy0_quartile) + imbalance"
    " + class_entropy"
)
HAC = {"cov_type": "HAC", "cov_kwds": {"maxlags": 3, "use_correction": True}, "use_t": True}


def made(
    datasets="ab", models="m", treatments=("finetune", "rewind"), techniques="pq", seeds=2, iterations=5, classes=4
):
    """Networks in an order that is not sorted, whose accuracies have noise that neighbouring iterations share."""
    rng = np.random.default_rng(0)
    rows = []
    chains = itertools.product(datasets, models, treatments, techniques, range(seeds))
    for place, (dataset, model, treatment, technique, _) in enumerate(chains):
        before = rng.uniform(0.6, 1, classes)
        noise = rng.normal(size=(iterations, classes)).cumsum(0) / 30
        for iteration, name in itertools.product(range(iterations), range(classes)):
            rows.append(
                {
                    "network": place,
                    "iteration": iteration,
                    "class": name,
                    "dataset": dataset,
                    "model": model,
                    "weight_treatment": treatment,
                    "pruning_technique": technique,
                    "sparsity": 1 - 0.8**iteration,
                    "accuracy": np.clip(before[name] - 0.2 * (1 - 0.8**iteration) + noise[iteration, name], 0, 1),
                    "accuracy0": before[name],
                    "accuracy0_quartile": 1 + (before[name] > np.quantile(before, [0.25, 0.5, 0.75])).sum(),
                    "imbalance": name / 10 - 0.15 + 0.01 * datasets.index(dataset) * name**2,
                    "class_entropy": 2 + name % 2 + 0.3 * datasets.index(dataset) * name,
                }
            )
    return pd.DataFrame(rows).sample(frac=1, random_state=1, ignore_index=True)


def in_order(frame):
    return frame.sort_values(["network", "iteration", "class"], ignore_index=True)


def coefficients(table):
    return table.set_index("term")["coefficient"]


class TestFit:
    def test_is_that_of_statsmodels_with_the_printed_formula(self):
        frame = made()
        ours, theirs = fit(frame).set_index("term"), smf.ols(FORMULA, in_order(frame)).fit(**HAC)
        assert sorted(ours.index) == sorted(theirs.params.index)  # print has another order than patsy
        columns = {"coefficient": theirs.params, "se": theirs.bse, "t": theirs.tvalues, "p": theirs.pvalues}
        for name, values in columns.items():
            np.testing.assert_allclose(ours[name], values[ours.index], rtol=1e-7, atol=1e-12)
        np.testing.assert_allclose(ours[["ci_low", "ci_high"]], theirs.conf_int().loc[ours.index], rtol=1e-7)

    @pytest.mark.parametrize(("more", "count"), [((), 50), (("qmnist",), 52)])
    def test_has_the_terms_in_print_and_two_for_the_eighth_data_set(self, more, count):
        frame = made(datasets=("cifar-10", "cifar-100", "emnist", "fashionmnist", "kmnist", "mnist", *more, "svhn"))
        structured = [f"{norm}_structured" for norm in ("l1", "l2", "linfty", "random")]
        techniques = ["global_unstructured", *structured, "l1_unstructured", "random_unstructured"]
        frame = frame.assign(
            pruning_technique=np.array(techniques)[np.arange(len(frame)) % 7],
            model=np.array(["alexnet", "lenet", "resnet18", "vgg11"])[np.arange(len(frame)) % 4],
        )
        terms = fit(frame)["term"].tolist()
        assert len(terms) == count
        printed = published.figures("prune_responsibly_ols")["term"].tolist()
        assert [term for term in terms if term in printed] == printed

    def test_finds_the_coefficients_that_made_the_data(self):
        frame = made(datasets="a", treatments=("finetune",), techniques="p")
        true = {"sparsity": -0.3, "imbalance": 1.2, "class_entropy": -0.02, "np.exp(sparsity)": 0.1}
        frame["accuracy"] = 0.5 + sum(true[name] * frame[name] for name in list(true)[:3])
        frame["accuracy"] += true["np.exp(sparsity)"] * np.exp(frame["sparsity"])
        found = coefficients(fit(frame))
        assert found["Intercept"] == pytest.approx(0.5)
        assert found[list(true)].to_dict() == pytest.approx(true)
        assert found["np.exp(sparsity):accuracy0"] == pytest.approx(0, abs=1e-10)

    def test_the_order_of_the_rows_does_not_matter(self):
        pd.testing.assert_frame_equal(fit(made()), fit(in_order(made())))

    def test_without_network_rows_stay_in_their_order_and_no_error_is_clustered(self):
        frame = made().drop(columns=["network", "iteration", "class"])
        table = fit(frame)
        np.testing.assert_allclose(table["se"], smf.ols(FORMULA, frame).fit(**HAC).bse[table["term"]], rtol=1e-7)
        assert table["se_clustered"].isna().all()
        assert table.attrs["networks"] == 0

    def test_a_factor_with_one_level_is_left_out_and_said(self):
        table = fit(made(techniques=("l1_structured",)))
        assert not table["term"].str.contains("pruning_technique").any()
        assert (
            "regression: pruning_technique has fewer than two levels (l1_structured), and is left out"
            in table.attrs["notes"]
        )
        theirs = "accuracy ~ dataset + weight_treatment + np.exp(sparsity)*(dataset + accuracy0) + sparsity"
        theirs += " + accuracy0*(weight_treatment + accuracy0_quartile) + imbalance + class_entropy"
        expected = smf.ols(theirs, made(techniques=("l1_structured",))).fit().params
        np.testing.assert_allclose(coefficients(table), expected[table["term"]], rtol=1e-7)

    def test_terms_that_others_imply_are_left_out_and_said(self):
        frame = made(datasets="a").assign(class_entropy=lambda rows: 2 - 3 * rows["imbalance"])
        table = fit(frame)
        assert "regression: terms left out because other terms imply them: class_entropy" in table.attrs["notes"]
        pd.testing.assert_series_equal(coefficients(table), coefficients(fit(frame.assign(class_entropy=np.nan))))

    def test_a_term_left_out_is_a_sum_of_the_others(self):
        frame = made(datasets="a").assign(class_entropy=lambda rows: 2 - 3 * rows["imbalance"])
        alone = frame.query("not (weight_treatment == 'finetune' and pruning_technique == 'q')")
        parts = estimate(alone).implied
        product = parts["weight_treatment[T.rewind]:pruning_technique[T.q]"]
        assert product[product != 0].to_dict() == pytest.approx({"pruning_technique[T.q]": 1})
        entropy = parts["class_entropy"]
        assert entropy[entropy != 0].to_dict() == pytest.approx({"Intercept": 2, "imbalance": -3})
        absent = estimate(made().query("not (weight_treatment == 'rewind' and pruning_technique == 'q')")).implied
        assert absent.shape[1] == 1
        assert not absent.any(axis=None)

    def test_rows_without_a_value_are_left_out_and_said(self):
        frame = in_order(made())
        frame.loc[[3, 7], "imbalance"] = np.nan
        frame.loc[9, "sparsity"] = np.inf
        table = fit(frame)
        assert (
            "regression: 3 of 320 rows are left out because they lack a value of sparsity, imbalance"
            in table.attrs["notes"]
        )
        pd.testing.assert_frame_equal(table, fit(frame.drop(index=[3, 7, 9])))

    def test_a_column_without_any_value_is_left_out_and_keeps_the_rows(self):
        table = fit(made().assign(class_entropy=np.nan))
        assert "regression: no row has a value of class_entropy, which is left out" in table.attrs["notes"]
        assert table.attrs["rows"] == 320

    def test_the_first_level_of_a_column_with_an_order_is_the_reference(self):
        levels = pd.CategoricalDtype(["q", "p", "unused"])
        terms = fit(made().astype({"pruning_technique": levels}))["term"].tolist()
        assert "pruning_technique[T.p]" in terms
        assert not any("T.q" in term or "unused" in term for term in terms)

    def test_a_missing_column_and_too_few_rows_are_errors(self):
        with pytest.raises(StudyError, match="needs a column imbalance"):
            fit(made().drop(columns="imbalance"))
        with pytest.raises(StudyError, match="1 rows and 1 terms"):
            fit(made().head(1))
        with pytest.raises(StudyError, match="0 rows"):
            fit(made().head(0))


class TestJackknife:
    def test_is_that_of_fits_that_leave_out_a_group(self):
        frame = made()
        fitted = estimate(frame)
        without = [fit(fitted.rows[fitted.rows["class"] != name])["coefficient"] for name in range(4)]
        spread = sum((other - fitted.coefficients["coefficient"]) ** 2 for other in without)
        expected = np.sqrt(3 / 4 * spread)
        np.testing.assert_allclose(jackknife_errors(fitted, fitted.rows["class"]), expected, rtol=1e-6)

    def test_a_group_that_a_term_needs_gives_no_error(self):
        fitted = estimate(made())
        assert np.isnan(jackknife_errors(fitted, fitted.rows["dataset"])).all()
        assert np.isnan(jackknife_errors(fitted, pd.Series(["all"] * len(fitted.rows)))).all()


class TestTrainingChoices:
    @pytest.fixture
    def frame(self):
        """Networks of two optimizers and batch sizes and four learning rates, in no pattern."""
        rows = made(seeds=4)
        rng = np.random.default_rng(5)
        values = {"optimizer": ["sgd", "adam"], "batch_size": [32, 128], "learning_rate": [0.01, 0.02, 0.04, 0.001]}
        networks = {name: rng.choice(own, rows["network"].max() + 1) for name, own in values.items()}
        return rows.assign(**{name: own[rows["network"]] for name, own in networks.items()})

    def test_the_fit_is_that_of_statsmodels_with_their_terms(self, frame):
        formula = f"{FORMULA} + optimizer + np.log2(batch_size) + np.log10(learning_rate)"
        ours, theirs = fit(frame).set_index("term"), smf.ols(formula, in_order(frame)).fit(**HAC)
        assert sorted(ours.index) == sorted(theirs.params.index)
        np.testing.assert_allclose(ours["coefficient"], theirs.params[ours.index], rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(ours["se"], theirs.bse[ours.index], rtol=1e-6)

    def test_a_batch_size_that_goes_with_the_model_leaves_the_model_its_term(self):
        frame = made(models="mn")
        found = fit(frame.assign(batch_size=np.where(frame["model"] == "m", 32, 128)))
        assert "model[T.n]" in coefficients(found)
        (note,) = found.attrs["notes"]
        assert note == "regression: terms left out because other terms imply them: np.log2(batch_size)"

    @pytest.mark.parametrize("value", [0, -1, np.nan])
    def test_a_row_without_a_usable_value_is_left_out(self, frame, value):
        is_first = frame["network"] == 0
        found = fit(frame.assign(batch_size=frame["batch_size"].mask(is_first, value)))
        assert found.attrs["rows"] == (~is_first).sum()


def test_a_one_tailed_p_is_half_where_the_sign_is_as_expected():
    assert one_tailed(0.04, -0.1, -1) == 0.02
    assert one_tailed(0.04, -0.1, 1) == 0.98


class TestFractionalLogit:
    def test_finds_the_coefficients_that_made_the_data(self):
        frame = made()
        frame["accuracy"] = expit(1 + 2 * frame["imbalance"] - 0.5 * frame["class_entropy"] - frame["sparsity"])
        table = fractional_logit(frame)
        found = coefficients(table)
        assert found[["Intercept", "imbalance", "class_entropy", "sparsity"]].tolist() == pytest.approx(
            [1, 2, -0.5, -1]
        )
        mean = float((frame["accuracy"] * (1 - frame["accuracy"])).mean())
        assert table.set_index("term").loc["imbalance", "effect"] == pytest.approx(2 * mean)
        exact = "regression: the fractional logit fits the accuracies exactly, so its standard errors are meaningless"
        assert table.attrs["notes"].count(exact) == 1
        assert exact not in fractional_logit(made()).attrs["notes"]

    def test_accuracies_of_0_and_1_that_a_term_tells_apart_end_the_iteration(self):
        frame = made()
        frame["accuracy"] = (frame["model"] == frame["model"].iloc[0]).astype(float)
        table = fractional_logit(frame)
        assert np.isfinite(table["coefficient"]).all()
        assert any("fits the accuracies exactly" in note for note in table.attrs["notes"])


@pytest.mark.slow
def test_the_module_does_without_statsmodels_until_it_is_used():
    code = (
        "import sys; import analysis.statistics.regression; print('statsmodels' in sys.modules, 'patsy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
