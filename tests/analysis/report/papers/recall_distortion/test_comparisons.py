import numpy as np
import pytest
from scipy import stats

from analysis.report.papers.recall_distortion.comparisons import TEST_COLUMNS, paper_tests, unpaired_tests
from analysis.study.arrays import run_arrays
from analysis.study.cells import alphas
from tests.made_up_runs import runs, study

LOW, HIGH = [1.0, 1.1, 1.3], [1.2, 1.5, 1.6]
# Differences -.2, -.4, -.3: t = -.3 / (.1 / sqrt(3)) = -sqrt(27); with 2 dof p is (1 - sqrt(t^2 / (t^2 + 2))) / 2.
P_LOW_BELOW_HIGH = (1 - (27 / 29) ** 0.5) / 2


def cifar(model, pruner, ratio, values, **params):
    return runs("cifar10", model, pruner, ratio, values, **params)


def results(*cells, **how):
    return paper_tests(alphas(run_arrays(study(*cells))), **how)


def rows_of(frame, table):
    return frame[frame["table"] == table].reset_index(drop=True)


def test_neighbouring_ratios_by_hand():
    frame = results(cifar("resnet56", "mp", 2, LOW), cifar("resnet56", "mp", 10, HIGH))
    assert list(frame.columns) == TEST_COLUMNS
    row = rows_of(frame, 1).iloc[0]
    assert row[["dataset", "column", "row", "n"]].tolist() == ["cifar10", "ResNet-56 (MP)", "2 vs 10", 3]
    assert row[["difference", "statistic", "dof"]].tolist() == pytest.approx([-0.3, -(27**0.5), 2])
    assert row["p"] == pytest.approx(P_LOW_BELOW_HIGH)
    # Three of the four rows in print are missing, and count.
    assert row[["p_bonferroni", "p_holm"]].tolist() == pytest.approx([4 * P_LOW_BELOW_HIGH] * 2)
    assert row["p_permutation"] == "too few"


def test_easier_data_sets_against_the_jpeg_copy_of_cifar10_under_its_own_name():
    cells = [runs(dataset, "lenet5", "mp", 2, values) for dataset, values in (("mnist", LOW), ("cifar10-jpeg", HIGH))]
    row = rows_of(results(*cells), 7).iloc[0]
    assert row[["dataset", "column", "row"]].tolist() == [
        "mnist vs cifar10-jpeg",
        "t=2 (LeNet, MP)",
        "MNIST vs cifar10-jpeg",
    ]
    assert row["p"] == pytest.approx(stats.ttest_ind(LOW, HIGH, equal_var=False, alternative="less").pvalue)
    assert rows_of(results(*cells, as_printed=True), 7)["row"].tolist() == []


def test_only_neighbours_are_compared():
    frame = results(*(cifar("resnet56", "mp", ratio, HIGH) for ratio in (50, 2, 10)))
    assert rows_of(frame, 1)["row"].tolist() == ["2 vs 10", "10 vs 50"]


def test_ratios_that_print_has_not_do_not_part_those_that_it_has():
    cells = [*(cifar("resnet56", "mp", ratio, HIGH) for ratio in (4, 6, 10)), cifar("resnet56", "none", 1, HIGH)]
    assert rows_of(results(*cells), 1)["row"].tolist() == ["4 vs 6", "6 vs 10"]
    printed = results(*cells, as_printed=True)
    assert rows_of(printed, 1)["row"].tolist() == ["4 vs 10"]
    assert set(rows_of(printed, 8)["column"]) == {"t=4 (ResNet-56)", "t=10 (ResNet-56)"}


def test_pairs_are_of_one_seed_whatever_the_order():
    made = study(cifar("resnet56", "mp", 2, LOW), cifar("resnet56", "mp", 10, [*HIGH, 9.0])[::-1])
    assert rows_of(paper_tests(alphas(run_arrays(made))), 1)["p"].tolist() == pytest.approx([P_LOW_BELOW_HIGH])


def test_one_seed_is_no_test():
    row = rows_of(results(cifar("resnet56", "mp", 2, [1.0]), cifar("resnet56", "mp", 10, [1.5])), 1).iloc[0]
    assert row["n"] == 1
    assert row[["difference", "statistic", "p", "p_bonferroni", "p_holm"]].isna().all()


def test_tables_3_and_4_name_the_model_they_fix():
    made = [
        *(cifar("resnet56", "mp", ratio, HIGH) for ratio in (2, 4)),
        *(cifar("resnet20", "mp", ratio, [*HIGH, 1.0]) for ratio in (2, 4)),
        *(runs("mnist", "lenet5", "mp", ratio, HIGH, classes="cd") for ratio in (2, 4)),
    ]
    frame = results(*made)
    assert rows_of(frame, 3)["column"].tolist() == ["MNIST (LeNet, MP)", "CIFAR-10 (ResNet-56, MP)"]
    assert rows_of(frame, 3)["dataset"].tolist() == ["mnist", "cifar10"]
    assert rows_of(frame, 4)["column"].tolist() == ["MP (ResNet-56)"]


def test_models_are_compared_by_size_and_independently():
    frame = results(*(cifar(model, "mp", 2, HIGH) for model in ("resnet110", "resnet20", "resnet56")))
    assert rows_of(frame, 5)["row"].tolist() == ["20 vs 56", "56 vs 110"]
    assert rows_of(frame, 5)["n"].tolist() == [6, 6]
    widths = ("lenet5-double", "lenet5", "lenet5-half")
    frame = results(*(cifar(model, "mp", 2, HIGH) for model in (*widths, "resnet20", "resnet32")))
    rows = ["lenet5-half vs LeNet", "LeNet vs lenet5-double", "ResNet-20 vs ResNet-32"]
    assert rows_of(frame, 5)["row"].tolist() == rows


def test_models_that_differ_in_more_than_their_size_are_not_compared():
    """The alphabet has AlexNet, with 23.5 million parameters, before ResNet-18 with 11.2 million."""
    models = ("alexnet", "resnet18", "vgg11", "lenet5", "resnet20")
    assert rows_of(results(*(cifar(model, "mp", 2, HIGH) for model in models)), 5).empty


def test_two_names_of_one_model_are_not_two_sizes():
    frame = results(*(cifar(model, "mp", 2, HIGH) for model in ("resnet20", "ResNet-20")))
    assert rows_of(frame, 5)["row"].tolist() == []


@pytest.mark.parametrize("model", ["vgg11", "lenet5", "wrn16-4"])
def test_another_model_does_not_rename_the_resnets(model):
    cells = [cifar(name, "mp", 2, HIGH) for name in ("resnet20", "resnet32", model)]
    assert rows_of(results(*cells), 5)["row"].tolist() == ["20 vs 32"]


def test_print_has_only_resnets_in_its_tables_of_sizes():
    cells = [cifar(name, "mp", 2, HIGH) for name in ("resnet20", "resnet32", "lenet5", "lenet5-half")]
    found = results(*cells, as_printed=True)
    assert rows_of(found, 5)["row"].tolist() == ["20 vs 32"]
    assert found.attrs["row_headers"] == {}


def test_the_smaller_model_is_expected_to_be_worse():
    first, second = [1.2, 1.5, 1.6], [1.0, 1.1, 1.3]
    frame = results(cifar("resnet20", "up", 4, first), cifar("resnet32", "up", 4, second), variance="pooled")
    row = rows_of(frame, 6).iloc[0]
    assert row[["column", "row"]].tolist() == ["t=4 (UP)", "20 vs 32"]
    # Means 1.4333, 1.1333; variances .043333, .023333: t = .3 / sqrt(.033333 x 2 / 3) on 4 dof.
    assert row[["statistic", "dof"]].tolist() == pytest.approx([0.3 / (0.2 / 9) ** 0.5, 4])
    assert row["p"] == pytest.approx(stats.t.sf(2.012461, 4), abs=1e-6)
    assert row["p_bonferroni"] == pytest.approx(4 * row["p"])


def test_the_easier_data_set_is_expected_to_be_better():
    made = [
        runs("fashion-mnist", "lenet5", "mp", 2, LOW),
        cifar("resnet56", "mp", 2, HIGH),
        runs("toy", "lenet5", "mp", 2, HIGH),
    ]
    frame = rows_of(results(*made), 7)
    assert len(frame) == 1
    row = frame.iloc[0]
    assert row["dataset"] == "fashion-mnist vs cifar10"
    assert row[["column", "row"]].tolist() == ["t=2 (LeNet vs ResNet-56, MP)", "Fashion vs CIFAR-10"]
    assert row["difference"] == pytest.approx(-0.3)
    assert row["p"] < 0.1
    assert row["p_bonferroni"] == pytest.approx(3 * row["p"])


def test_pruner_pairs_in_the_order_of_print_then_further_ones_as_a_family_of_their_own():
    made = [cifar("resnet56", pruner, ratio, HIGH) for pruner in ("rp", "up", "gp") for ratio in (2, 10)]
    made += [cifar("resnet56", "mp", ratio, LOW) for ratio in (2, 10)]
    frame = rows_of(results(*made, cifar("resnet56", "none", 1, LOW)), 8)
    at_two = frame[frame["column"] == "t=2 (ResNet-56)"]
    printed = ["MP vs GP", "MP vs UP", "GP vs UP", "MP vs RP", "GP vs RP", "UP vs RP"]
    assert at_two["row"].tolist() == [*printed, "MP vs none", "GP vs none", "UP vs none", "RP vs none"]
    of = at_two.set_index("row")
    # Two-sided.
    assert of.loc["MP vs GP", "p"] == pytest.approx(2 * P_LOW_BELOW_HIGH)
    assert of.loc["MP vs GP", "p_bonferroni"] == pytest.approx(12 * P_LOW_BELOW_HIGH)
    assert of.loc["GP vs none", "p_bonferroni"] == pytest.approx(8 * P_LOW_BELOW_HIGH)
    # Networks that differ by nothing are no test.
    assert np.isnan(of.loc["MP vs none", "p"])
    # `none` has the ratio 1 alone and stands against both ratios.
    assert frame.loc[frame["column"] == "t=10 (ResNet-56)", "row"].tolist() == at_two["row"].tolist()
    assert "none" not in "".join(rows_of(results(*made, cifar("resnet56", "none", 1, LOW)), 4)["column"])


def test_table_9_corrects_for_all_its_cells():
    made = [cifar(model, "mp", 2, LOW) for model in ("resnet20", "resnet56")]
    made += [cifar(model, "up", 2, HIGH) for model in ("resnet20", "resnet56")]
    frame = rows_of(results(*made), 9)
    assert frame["column"].tolist() == ["ResNet-20 (MP vs UP)", "ResNet-56 (MP vs UP)"]
    assert frame["row"].tolist() == ["2", "2"]
    assert frame["p_bonferroni"].tolist() == pytest.approx([50 * P_LOW_BELOW_HIGH] * 2)
    assert frame["p_holm"].tolist() == pytest.approx([50 * P_LOW_BELOW_HIGH] * 2)


def test_the_detectable_difference_is_at_the_corrected_level():
    both = [cifar("resnet56", "mp", 2, LOW), cifar("resnet56", "up", 2, HIGH)]
    frame = results(*both).set_index("table")
    # The same pair at level .05 / 25 and at .05 / 6.
    assert frame.loc[9, "detectable_difference"] > 1.5 * frame.loc[8, "detectable_difference"]


def test_a_study_of_other_things_takes_what_has_most_runs():
    made = [runs("toy", "net", "gp", ratio, HIGH) for ratio in (2, 10)]
    made += [runs("other", "net", "gp", ratio, [1.0, 1.2]) for ratio in (2, 10)]
    frame = results(*made)
    assert frame[frame["table"].isin([1, 4])][["dataset", "column"]].to_numpy().tolist() == [
        ["toy", "net (GP)"],
        ["toy", "GP (net)"],
    ]
    assert set(frame["table"]) == {1, 3, 4}
    assert results(*made, as_printed=True).empty


def test_the_formula_of_the_released_code_stands_for_up_where_there_is_no_up():
    signed = [cifar("resnet56", "up-signed", ratio, HIGH) for ratio in (2, 10)]
    assert rows_of(results(*signed), 2)["column"].tolist() == ["ResNet-56 (up-signed)"]
    both = [*signed, *(cifar("resnet56", "up", ratio, HIGH) for ratio in (2, 10))]
    assert rows_of(results(*both), 2)["column"].tolist() == ["ResNet-56 (UP)"]


def test_data_sets_that_print_calls_the_same_keep_their_logged_names():
    steps = list(zip((2, 4, 10, 20), (LOW, HIGH, LOW, HIGH), strict=True))
    made = [runs(dataset, "resnet56", "mp", *step) for dataset in ("cifar10", "CIFAR-10") for step in steps]
    frame = results(*made, *(runs("mnist", "lenet5", "mp", ratio, LOW) for ratio in (2, 10)))
    columns = ["MNIST (LeNet, MP)", "CIFAR-10 (ResNet-56, MP)", "cifar10 (ResNet-56, MP)"]
    assert set(rows_of(frame, 3)["column"]) == set(columns)
    assert set(rows_of(frame, 7)["row"]) == {"MNIST vs cifar10", "MNIST vs CIFAR-10"}
    # Each column is a family of its own, of the four rows in print.
    first = rows_of(frame, 3).set_index(["column", "row"]).loc[("cifar10 (ResNet-56, MP)", "2 vs 4")]
    assert first["p_bonferroni"] == pytest.approx(4 * P_LOW_BELOW_HIGH)


def test_a_header_is_there_in_parts_too():
    made = [runs("toy", "net (wide) (v2)", "mp", ratio, values) for ratio, values in ((2, LOW), (10, HIGH))]
    frame = results(*made)
    first = rows_of(frame, 1).iloc[0]
    assert first["column"] == "net (wide) (v2) (MP)"
    assert frame.attrs["headers"][0] == ("net (wide) (v2)", "MP")
    assert len(frame.attrs["headers"]) == len(frame)


def test_networks_at_chance_are_left_out_of_pairs_and_counted():
    made = study(cifar("resnet56", "mp", 2, [*LOW, 9.0, 9.0]), cifar("resnet56", "mp", 10, [*HIGH, 0.0, 0.0]))
    # The fourth network guesses at ratio 2, the fifth at ratio 10.
    frame = alphas(run_arrays(made)).assign(at_chance=[*[False] * 3, True, False, *[False] * 4, True])
    found = paper_tests(frame)
    row = rows_of(found, 1).iloc[0]
    assert row[["n", "n_at_chance"]].tolist() == [3, 2]
    assert row["p"] == pytest.approx(P_LOW_BELOW_HIGH)
    assert "2 of 10 pruned networks have no alpha" in found.attrs["notes"][0]


def test_controls_at_chance_are_counted_as_such():
    made = study(cifar("resnet56", "mp", 2, LOW), cifar("resnet56", "none", 1, LOW))
    found = paper_tests(alphas(run_arrays(made)).assign(at_chance=[*[False] * 4, True, True]))
    (note,) = found.attrs["notes"]
    assert note.startswith("2 of 3 controls have no alpha")


def test_networks_at_chance_are_left_out_of_independent_samples_and_counted():
    made = study(cifar("resnet20", "mp", 4, [*LOW, 9.0]), cifar("resnet32", "mp", 4, HIGH))
    frame = alphas(run_arrays(made))
    row = rows_of(paper_tests(frame.assign(at_chance=[*[False] * 3, True, *[False] * 3])), 5).iloc[0]
    assert row[["n", "n_at_chance"]].tolist() == [6, 1]
    assert row["p"] == pytest.approx(stats.ttest_ind(LOW, HIGH, equal_var=False, alternative="greater").pvalue)


def test_where_all_guess_there_is_no_test_but_its_row_which_counts_in_its_family():
    made = study(*(cifar("resnet56", "mp", ratio, values) for ratio, values in ((2, LOW), (10, HIGH), (50, LOW))))
    frame = alphas(run_arrays(made)).assign(at_chance=[*[False] * 6, *[True] * 3])
    found = rows_of(paper_tests(frame), 1).set_index("row")
    assert np.isnan(found.loc["10 vs 50", "p"])
    assert found["n_at_chance"].tolist() == [0, 3]
    assert found.loc["2 vs 10", "p_bonferroni"] == pytest.approx(4 * P_LOW_BELOW_HIGH)


def test_one_setting_is_tested_and_the_others_are_named():
    made = [cifar("resnet56", "mp", ratio, values, epochs="30") for ratio, values in ((2, LOW), (10, HIGH))]
    made += [cifar("resnet56", "mp", ratio, [1.0, 9.0], epochs="3") for ratio in (2, 10)]
    found = results(*made)
    assert rows_of(found, 1)["p"].tolist() == pytest.approx([P_LOW_BELOW_HIGH])
    assert "4 runs left out" in found.attrs["notes"][0]


def test_unpaired_tests_are_of_the_pruners_and_have_the_dof_of_two_samples():
    made = study(cifar("resnet56", "mp", 2, LOW), cifar("resnet56", "up", 2, HIGH))
    frame = unpaired_tests(alphas(run_arrays(made)), variance="pooled")
    assert frame["table"].tolist() == [8, 9]
    assert frame["dof"].tolist() == [4, 4]
