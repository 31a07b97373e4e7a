import numpy as np
import pytest

from analysis.report.papers.prune_responsibly.printed_terms import published_terms

AS_PRINTED = {
    "dataset": "cifar10",
    "model": "alexnet",
    "weight_treatment": "finetune",
    "pruning_technique": "global-unstructured",
}


def value(term, **references):
    return row(term, **references)["published"]


def row(term, **references):
    return published_terms([term], {**AS_PRINTED, **references}).iloc[0]


@pytest.mark.parametrize(
    ("term", "printed"),
    [
        ("Intercept", 0.6375),
        ("imbalance", 1.2429),
        ("accuracy0:accuracy0_quartile", 0.0261),
        ("dataset[T.fashion-mnist]", -0.1293),
        ("dataset[T.cifar100]", 0.0074),
        ("pruning_technique[T.linf-structured]", 0.4807),
        ("weight_treatment[T.rewind]:pruning_technique[T.l1-structured]", -0.1592),
        ("np.exp(sparsity):dataset[T.mnist]", -0.0013),
    ],
)
def test_terms_relative_to_the_levels_in_print_are_as_printed(term, printed):
    assert value(term) == printed


def test_illegible_and_unknown_terms_have_no_value():
    assert np.isnan(value("np.exp(sparsity)"))
    assert np.isnan(value("dataset[T.qmnist]"))
    assert np.isnan(value("pruning_technique[T.gp]"))


TERMS = [
    "Intercept",
    "weight_treatment[T.rewind]",
    "weight_treatment[T.rewind]:pruning_technique[T.l1-structured]",
    "pruning_technique[T.l1-unstructured]",
    "accuracy0:pruning_technique[T.l1-unstructured]",
    "dataset[T.mnist]",
]


@pytest.mark.parametrize("renamed", [{"pruning_technique": "mp"}, {"dataset": "cifar10-jpeg"}, {"dataset": "CIFAR-10"}])
def test_names_of_one_pruner_or_data_set_have_the_same_coefficients(renamed):
    printed = published_terms(TERMS, AS_PRINTED)
    assert printed["published"].tolist() == [0.6375, 0.0670, -0.1592, 0.2405, -0.0178, -0.0531]
    assert published_terms(TERMS, {**AS_PRINTED, **renamed}).equals(printed)


def test_names_of_one_pruner_or_data_set_have_no_coefficient_against_each_other():
    assert row("pruning_technique[T.mp]").isna().all()
    assert row("dataset[T.cifar10-jpeg]").isna().all()
    assert row("np.exp(sparsity):dataset[T.cifar10-jpeg]").isna().all()


def test_data_sets_are_relative_to_the_studys_first():
    assert value("dataset[T.mnist]", dataset="fashion-mnist") == pytest.approx(-0.0531 + 0.1293)
    assert value("np.exp(sparsity):dataset[T.mnist]", dataset="fashion-mnist") == pytest.approx(-0.0013 - 0.0564)
    assert value("Intercept", dataset="fashion-mnist") == pytest.approx(0.6375 - 0.1293)
    assert value("imbalance", dataset="fashion-mnist") == 1.2429


def test_the_effect_of_rewinding_is_that_for_the_studys_first_technique():
    assert value("weight_treatment[T.rewind]") == 0.0670
    assert value("weight_treatment[T.rewind]", pruning_technique="l1-structured") == pytest.approx(0.0670 - 0.1592)


def test_the_intercept_of_another_model_than_the_printed_first_is_not_legible():
    assert np.isnan(value("Intercept", model="lenet5"))
    assert value("weight_treatment[T.rewind]", model="lenet5") == 0.0670


def test_intervals_and_p_values_are_those_in_print_and_no_sum_has_any():
    printed = row("dataset[T.cifar100]")
    assert printed.tolist() == [0.0074, -0.007, 0.022, 0.313]
    assert row("dataset[T.mnist]", dataset="fashion-mnist").isna().tolist() == [False, True, True, True]


@pytest.mark.parametrize("term", ["optimizer[T.adam]", "np.log2(batch_size)", "np.log10(learning_rate)"])
def test_the_paper_has_no_terms_of_training_choices(term):
    assert published_terms([term], {"dataset": "mnist"}).isna().all(axis=None)
