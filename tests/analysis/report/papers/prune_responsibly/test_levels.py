import numpy as np
import pytest

from analysis.report.papers.prune_responsibly.levels import class_levels, iterated, quartiles, trained_classes
from analysis.runs.frames import column
from analysis.statistics import regression
from tests import made_up_levels, made_up_runs


def test_every_network_has_a_row_for_each_iteration_and_class():
    runs = made_up_levels.runs(levels=3, seeds=2)
    rows = class_levels(runs)
    assert len(rows) == 2 * 2 * 2 * (3 + 1) * 4  # pruners, treatments, seeds, iterations, classes
    assert not rows.duplicated(["network", "iteration", "class"]).any()
    assert rows["network"].nunique() == 8
    first = rows[rows["network"] == rows["network"].iloc[0]]
    assert first["iteration"].tolist() == [0] * 4 + [1] * 4 + [2] * 4 + [3] * 4
    assert first["class"].tolist() == list("0123") * 4


def test_classes_are_in_the_order_of_labels_and_not_of_text():
    runs = made_up_levels.runs(seeds=1)
    runs.columns = [name.replace("/3", "/10") for name in runs]
    rows = class_levels(runs, made_up_levels.characteristics(runs).replace({"class": {"3": "10"}}))
    assert rows["class"].cat.categories.tolist() == ["0", "1", "2", "10"]
    ordered = regression.estimate(rows.sample(frac=1, random_state=0)).rows
    assert ordered["class"].tolist()[:4] == ["0", "1", "2", "10"]


def test_names_are_in_the_order_of_their_labels_too():
    """The columns of runs are in the order of the names."""
    runs = made_up_levels.runs(seeds=1)
    names = dict(zip("0123", ["T-shirt", "Bag", "Sandal", "Boot"], strict=True))
    renamed = {
        f"{column}/{old}": f"{column}/{name}"
        for column in ("recall_before", "recall_after", "support")
        for old, name in names.items()
    }
    runs = runs.rename(columns=renamed)
    runs = runs[sorted(runs)]
    known = made_up_levels.characteristics(runs).replace({"class": names})
    rows = class_levels(runs, known)
    assert rows["class"].cat.categories.tolist() == list(names.values())
    assert rows["accuracy0"].tolist()[:4] == [0.99, 0.97, 0.95, 0.93]
    assert rows["class_entropy"].tolist()[:4] == [1.5, 2.5, 2.0, 3.0]
    assert trained_classes(runs, known)["class"].tolist() == list(names.values())
    assert class_levels(runs)["class"].cat.categories.tolist() == ["Bag", "Boot", "Sandal", "T-shirt"]


def test_iteration_0_is_the_dense_network():
    rows = class_levels(made_up_levels.runs())
    dense = rows[rows["iteration"] == 0]
    assert (dense["sparsity"] == 0).all()
    assert (dense["accuracy"] == dense["accuracy0"]).all()
    assert dense["accuracy"].tolist()[:4] == [0.99, 0.97, 0.95, 0.93]


def test_a_class_has_its_accuracy_after_pruning_and_before():
    rows = class_levels(made_up_levels.runs(pruners=["l1-structured"], treatments=["rewind"], seeds=1, levels=1))
    last = rows.iloc[-1]
    # .93 - 2 * .5 * .2 * 1.3
    assert last["accuracy"] == pytest.approx(0.67)
    assert (last["accuracy0"], last["sparsity"], last["support"]) == pytest.approx((0.93, 0.2, 100))
    assert (last["pruning_technique"], last["weight_treatment"]) == ("l1-structured", "rewind")


def test_classes_have_the_characteristics_of_their_own_dense_network():
    runs = made_up_levels.runs(seeds=2)
    known = made_up_levels.characteristics(runs)
    known = known[known["run_id"] == "mnist lenet5 1"]
    rows = class_levels(runs, known)
    assert rows[rows["seed"] == 0][["imbalance", "class_entropy"]].isna().all(axis=None)
    own = rows[(rows["seed"] == 1) & (rows["iteration"] == 2)]
    assert own["imbalance"].tolist()[:4] == pytest.approx([0.15, 0.05, -0.05, -0.15])
    assert own["class_entropy"].tolist()[:4] == [1.5, 2.5, 2.0, 3.0]


def test_characteristics_find_a_class_whose_name_no_metric_can_have():
    runs = made_up_levels.runs(seeds=1)
    runs.columns = [name.replace("/0", "/T-shirt_top") for name in runs]
    known = made_up_levels.characteristics(runs).replace({"class": {"0": "T-shirt*top"}})
    rows = class_levels(runs, known)
    assert rows.loc[rows["class"] == "T-shirt_top", "class_entropy"].eq(1.5).all()


def test_runs_that_were_pruned_in_one_go_are_no_levels():
    levels = made_up_levels.runs(seeds=1)
    runs = made_up_runs.study(levels, made_up_runs.runs("mnist", "lenet5", "mp", 2.0, [1.0]))
    assert len(iterated(runs)) == len(levels)
    assert class_levels(made_up_runs.runs("mnist", "lenet5", "mp", 2.0, [1.0])).empty


@pytest.mark.parametrize(("param", "text"), [("iteration", "second"), ("iteration", "1.5"), ("sparsity", "2.0")])
def test_a_level_without_a_usable_iteration_or_sparsity_is_left_out(param, text):
    runs = made_up_levels.runs(seeds=1)
    runs[column(param)] = [text, *runs[column(param)][1:]]
    assert len(iterated(runs)) == len(runs) - 1


def test_weights_that_were_not_pruned_do_not_count_as_sparsity():
    """`up-signed` prunes half of the weights that it was asked to prune, which is .1, .18 and .244 of all."""
    runs = made_up_levels.runs(pruners=["up-signed"], treatments=["finetune"], seeds=1, loss={"up-signed": 0.1})
    asked = 1 - 1 / runs["ratio"]
    runs["realized_ratio"] = 1 / (1 - asked / 2)
    one_shot = made_up_runs.runs("mnist", "lenet5", "mp", 2.0, [1.0])  # its share of the prunable weights is unknown
    assert iterated(made_up_runs.study(runs, one_shot))["sparsity"].tolist() == pytest.approx([0.1, 0.18, 0.244])
    rounded = runs.assign(realized_ratio=1.005 * runs["ratio"])
    assert iterated(rounded)["sparsity"].tolist() == pytest.approx([0.2, 0.36, 0.488])


def test_a_control_without_sparsity_has_0():
    runs = made_up_levels.runs(pruners=["none"], seeds=1).drop(columns=column("sparsity"))
    assert (iterated(runs)["sparsity"] == 0).all()


def test_chains_that_differ_in_a_setting_are_other_networks():
    runs = made_up_levels.runs(pruners=["l1-structured"], treatments=["finetune"], seeds=1)
    other = runs.assign(**{column("fine_tune_epochs"): "5"})
    both = made_up_runs.study(runs.assign(**{column("fine_tune_epochs"): "30"}), other)
    assert iterated(both)["network"].nunique() == 2


def test_quartiles_are_those_of_a_network():
    # The cuts of 1, ..., 8 are 2.75, 4.5 and 6.25.
    assert quartiles(np.arange(1.0, 9.0)[None]).tolist() == [[1, 1, 2, 2, 3, 3, 4, 4]]
    assert quartiles(np.array([[0.5, 0.5, 0.5]])).tolist() == [[1, 1, 1]]
    assert quartiles(np.array([[1.0, np.nan, 2.0]])).tolist()[0][0] == 1


def test_levels_have_the_choices_of_their_training():
    runs = made_up_levels.runs(pruners=["l1-structured"], treatments=["finetune"], seeds=1, levels=1)
    choices = {column("batch_size"): "32", column("learning_rate"): "1e-3", column("optimizer"): "adam"}
    other = runs.assign(**choices, dense_run_id="another")
    rows = class_levels(made_up_runs.study(runs.assign(**{column("batch_size"): "128"}), other))
    assert rows["network"].nunique() == 2
    made = rows.groupby("network")[["optimizer", "batch_size", "learning_rate"]].agg(lambda own: own.unique().tolist())
    assert sorted(made.to_numpy().tolist(), key=str) == [
        [["adam"], [32.0], [0.001]],
        [["sgd"], [128.0], [pytest.approx(np.nan, nan_ok=True)]],  # what every run was trained by before Adam
    ]
    assert rows["optimizer"].cat.categories.tolist() == ["sgd", "adam"]
