"""Tables of iterative pruning, on accuracies that follow a formula known by hand."""

from itertools import product
from pathlib import Path

import numpy as np
import paganini
import pandas as pd
import pytest
from published import Study
from scipy import stats

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


@pytest.fixture
def of_rows(monkeypatch):
    """A function that returns a study with these rows."""

    def make(made):
        monkeypatch.setattr(paganini, "class_rows", lambda *_, **__: paganini.at_own_rates(made))
        return Study(Path())

    return make


def test_each_choice_and_imbalance_have_their_coefficient_with_rates_of_the_optimizers_own(of_rows):
    table = paganini.primary(of_rows(rows())).query("networks == 'all networks'").set_index("term")
    assert table["coefficient"].tolist() == pytest.approx([1.5, 3, -1, 2])
    assert table["n"].tolist() == [10, 80, 80, 80]


def test_imbalance_is_tested_one_tailed_by_class_and_the_choices_two_sided_by_dense_network(of_rows):
    study = of_rows(rows(noise=0.01))
    printed, table = paganini.terms(study).set_index("term"), paganini.primary(study).iloc[:4]
    own, of_choices = printed.loc["imbalance"], printed.loc[[*paganini._CHOICES]]
    p = 2 * stats.t.sf(abs(of_choices["coefficient"] / of_choices["se_dense"]), 79)
    assert table["p"].tolist() == pytest.approx([stats.t.sf(own["coefficient"] / own["se_class"], 9), *p])
    half = stats.t.ppf(0.975, 79) * 100 * of_choices["se_dense"]
    assert (table["high"] - table["coefficient"])[1:].tolist() == pytest.approx(half.tolist())


def test_a_class_is_compared_with_itself_where_it_is_not_rare(of_rows):
    made = rows().assign(accuracy0=0.9)
    made["accuracy"] = np.where(made["imbalance"] < 0, 0.5, 0.8) + made["iteration"] * 0.01
    table = paganini.rare_classes(of_rows(made))
    assert table["weights_left"].tolist() == 3 * ["30 %", "9 %"]
    for name, expected in {"deficit_before": 0, "deficit_after": 30, "more_lost": 30}.items():
        assert table[name].tolist() == pytest.approx(6 * [expected])


def test_effects_of_classes_leave_imbalance_its_coefficient(of_rows):
    made = rows()
    # A class has an accuracy of its own, which the entropy does not tell.
    made["accuracy"] += made["class"].map(
        dict(zip(CLASSES, 0.01 * np.array([3, 1, 4, 1, 5, 9, 2, 6, 5, 3]), strict=True))
    )
    table = paganini.class_effects(of_rows(made))
    assert table.loc[0, ["coefficient", "coefficient_low", "coefficient_high"]].tolist() == pytest.approx(3 * [1.5])
