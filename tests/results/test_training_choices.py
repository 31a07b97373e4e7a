"""The tables of training-choices/, on accuracies that follow a formula known by hand."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
import training_choices
from scipy import stats
from statsmodels.stats.multitest import multipletests

from analysis.report.papers.prune_responsibly.coefficients import fit_rows

CLASSES = list("0123456789")


def rows(noise=0.0):
    """Accuracies of ten classes: 1.5 points a point of the images, Adam 3, twice the images -1, ten times the rate 2.

    Class c is rare with the seeds c, c + 1 and c + 2 of ten.
    """
    rng = np.random.default_rng(1)
    levels = product(range(10), ("sgd", "adam"), (32, 128), (0.01, 0.03))
    networks = []
    for seed, optimizer, batch_size, rate in levels:
        before = rng.uniform(0.6, 0.9, 10)
        quartile = np.repeat([1, 2, 3, 4], [3, 2, 2, 3])[before.argsort().argsort()]
        rare = np.isin((seed - np.arange(10)) % 10, (0, 1, 2))
        imbalance = np.where(rare, -0.08, 0.03)
        training = 0.03 * (optimizer == "adam") - 0.01 * np.log2(batch_size) + 0.02 * np.log10(rate)
        training += noise * rng.normal()
        for technique, iteration in product(("global-unstructured", "l1-unstructured"), (1, 2)):
            accuracy = 0.2 + 0.5 * before + 1.5 * imbalance + training - 0.05 * iteration + noise * rng.normal(size=10)
            dense = f"{seed} {optimizer} {batch_size} {rate}"
            networks.append(
                pd.DataFrame(
                    {
                        **{"dataset": "fashion-mnist", "model": "lenet5", "weight_treatment": "finetune"},
                        **{"pruning_technique": technique, "seed": seed, "iteration": iteration},
                        **{"network": f"{dense} {technique}", "dense_run_id": dense, "class": CLASSES},
                        **{"sparsity": 1 - 0.3**iteration, "accuracy": accuracy, "accuracy0": before},
                        **{"accuracy0_quartile": quartile, "imbalance": imbalance},
                        "class_entropy": np.linspace(1, 2, 10),
                        **{"optimizer": optimizer, "batch_size": batch_size},
                        "learning_rate": rate / 10 if optimizer == "adam" else rate,
                    }
                )
            )
    made = pd.concat(networks, ignore_index=True)
    return made.assign(optimizer=pd.Categorical(made["optimizer"], ["sgd", "adam"]))


@pytest.fixture(scope="module")
def fits():
    own = training_choices.at_own_rates(rows(noise=0.01))
    return {"with": fit_rows(own), "without": fit_rows(own.drop(columns=list(training_choices.CHOICES)))}


def test_each_choice_and_imbalance_have_their_coefficient_with_rates_of_the_optimizers_own():
    table = training_choices.primary_tests(fit_rows(training_choices.at_own_rates(rows()))).set_index("term")
    assert table["coefficient"].to_dict() == pytest.approx(
        {"imbalance": 1.5, "optimizer[T.adam]": 3, "np.log2(batch_size)": -1, "np.log10(learning_rate)": 2}
    )
    assert table["groups"].to_dict() == {
        **{"imbalance": 10, "optimizer[T.adam]": 80, "np.log2(batch_size)": 80, "np.log10(learning_rate)": 80}
    }


def test_imbalance_is_tested_one_tailed_by_class_and_the_choices_two_sided_by_dense_network(fits):
    table = training_choices.primary_tests(fits["with"]).set_index("term")
    printed = fits["with"].table.set_index("term")
    p_imbalance = stats.t.sf(printed.loc["imbalance", "coefficient"] / printed.loc["imbalance", "se_class"], 9)
    assert table.loc["imbalance", "p"] == pytest.approx(p_imbalance)
    choices = table.index[1:]
    t = printed.loc[choices, "coefficient"] / printed.loc[choices, "se_dense"]
    p = 2 * stats.t.sf(t.abs(), 79)
    assert table.loc[choices, "p"].tolist() == pytest.approx(p.tolist())
    assert table.loc[choices, "p_holm"].tolist() == pytest.approx(multipletests(p, method="holm")[1].tolist())
    half = stats.t.ppf(0.975, 79) * 100 * printed.loc[choices, "se_dense"]
    assert (table["high"] - table["coefficient"])[choices].tolist() == pytest.approx(half.tolist())


def test_a_balanced_design_gives_imbalance_about_the_same_coefficient_without_the_choices(fits):
    table = training_choices.imbalance(fits).set_index("training choices")
    assert table.loc["with", "coefficient"] == pytest.approx(1.5, abs=0.05)
    assert table.loc["without", "coefficient"] == pytest.approx(table.loc["with", "coefficient"], abs=0.05)
    # What the choices explain is in the errors by dense network without them.
    assert table.loc["with", "se_dense"] < table.loc["without", "se_dense"]


def test_each_half_of_the_networks_has_its_own_coefficient():
    steeper = training_choices.at_own_rates(rows())
    is_adam = steeper["optimizer"].eq("adam")
    steeper["accuracy"] += np.where(is_adam, steeper["imbalance"], 0)
    table = training_choices.imbalance_by_half(steeper).set_index(["choice", "level"])["coefficient"]
    assert table["optimizer"].to_dict() == pytest.approx({"sgd": 1.5, "adam": 2.5})
    assert len(table) == 6


def test_a_class_is_compared_with_itself_where_it_is_not_rare():
    made = rows().assign(accuracy0=0.9)
    made["accuracy"] = np.where(made["imbalance"] < 0, 0.5, 0.8) + made["iteration"] * 0.01
    table = training_choices.rare_classes(made).set_index(["iteration", "optimizer", "pruning"])["deficit"]
    assert table.xs("after", level="pruning").tolist() == pytest.approx([30] * 4)
    assert table.xs("before", level="pruning").tolist() == pytest.approx([0] * 4)


def test_effects_of_classes_leave_imbalance_its_coefficient():
    made = training_choices.at_own_rates(rows())
    # A class has an accuracy of its own, which the entropy does not tell.
    made["accuracy"] += made["class"].map(
        dict(zip(CLASSES, 0.01 * np.array([3, 1, 4, 1, 5, 9, 2, 6, 5, 3]), strict=True))
    )
    table = training_choices.class_effects(fit_rows(made)).set_index("accuracy before pruning")
    assert table.loc["with", "coefficient"] == pytest.approx(1.5)
    assert table.loc["with", ["low", "high"]].tolist() == pytest.approx([1.5, 1.5])


def test_without_accuracy_before_pruning_imbalance_has_what_it_costs_through_it():
    made = training_choices.at_own_rates(rows())
    made["accuracy"] += 0.5 * made["imbalance"]
    made["accuracy0"] += made["imbalance"]
    table = training_choices.class_effects(fit_rows(made)).set_index("accuracy before pruning")["coefficient"]
    # Half of a point before pruning is kept. It is 1.5 either way, and .5 more through the accuracy before.
    assert table["with"] == pytest.approx(1.5)
    assert table["without"] == pytest.approx(2, abs=0.1)


def test_rare_classes_lose_more_than_the_same_classes_elsewhere():
    made = rows().assign(accuracy0=0.9)
    made["accuracy"] = np.where(made["imbalance"] < 0, 0.5, 0.8) - made["iteration"] * 0.1
    assert training_choices.rare_minus_common(made)["difference"].tolist() == pytest.approx([30, 30])
