import pytest
from scipy import stats

from analysis.report import published
from analysis.report.papers.recall_distortion.comparisons import paper_tests
from analysis.report.papers.recall_distortion.tables import compare, paper_table
from analysis.study.arrays import run_arrays
from analysis.study.cells import alphas
from tests.made_up_runs import runs, study

LOW, HIGH = [1.0, 1.1, 1.3], [1.2, 1.5, 1.6]
# One-sided paired p = .017554, as worked out in test_comparisons.


def tables(made):
    of_runs = alphas(run_arrays(made))
    found = paper_tests(of_runs)
    return lambda number: paper_table(number, runs=made, alphas=of_runs, tests=found)


@pytest.fixture(scope="module")
def papers_study():
    """Every cell of the paper, with two seeds."""
    logged = {published.label(name): name for name in published.LABELS}
    made = []
    for _, group in published.table(10).iterrows():
        dataset, model, pruner = (logged[group[column]] for column in ("Dataset", "Model", "Pruning Algorithm"))
        step = published.rank(pruner)[0] / 1000
        made += [runs(dataset, model, pruner, ratio, [1, 1 + step * ratio]) for ratio in (2, 4, 10, 20, 50)]
    return study(*made)


def test_layout_is_that_of_print(papers_study):
    table = tables(papers_study)
    for number in range(1, 10):
        ours, printed = table(number), published.table(number)
        assert ours.columns.tolist() == printed.columns.tolist()
        assert ours.iloc[:, 0].tolist() == printed.iloc[:, 0].tolist()
    assert table(10).drop(columns="Accuracy").equals(published.table(10).drop(columns="Accuracy"))
    assert table(11).columns.tolist() == published.table(11).columns.tolist()
    assert set(published.table(11)["Model"]) < set(table(11)["Model"])


def test_a_p_value_by_hand():
    made = study(runs("cifar10", "resnet56", "mp", 2, LOW), runs("cifar10", "resnet56", "mp", 10, HIGH))
    table = tables(made)(1)
    # 4 x .017554
    assert table.to_dict("list") == {"Ratios": ["2 vs 10"], "ResNet-56": ["0.070"]}
    assert "cifar10; MP. p of one-sided paired t-tests" in table.attrs["title"]


def test_data_sets_that_print_calls_the_same_have_columns_of_their_own():
    steps = ((2, LOW), (10, HIGH))
    made = study(*(runs(d, "resnet56", "mp", ratio, step) for d in ("cifar10", "CIFAR-10") for ratio, step in steps))
    table = tables(made)
    assert set(table(3).columns) == {"Ratios", "cifar10", "CIFAR-10"}
    assert table(3)[["cifar10", "CIFAR-10"]].to_numpy().tolist() == [["0.070", "0.070"]]
    assert set(table(10)["Dataset"]) == {"cifar10", "CIFAR-10"}
    assert set(table(11)["Model"]) == {"cifar10 @ ResNet-56 -> MP", "CIFAR-10 @ ResNet-56 -> MP"}


def test_brackets_in_a_models_name_stay_in_its_header():
    named = "net (wide) (v2)"
    table = tables(study(runs("toy", named, "mp", 2, LOW), runs("toy", named, "mp", 10, HIGH)))
    assert table(1).to_dict("list") == {"Ratios": ["2 vs 10"], named: ["0.070"]}
    assert table(3).columns.tolist() == ["Ratios", "toy"]
    assert f"toy; {named}, MP. p of" in table(3).attrs["title"]


def test_small_and_missing_p_values():
    small = [1.1, 1.2, 1.3, 1.4]
    made = study(
        runs("cifar10", "resnet56", "mp", 2, [0.1, 0.2, 0.3, 0.41]),
        runs("cifar10", "resnet56", "mp", 4, small),
        runs("cifar10", "resnet20", "mp", 2, [1.0]),
        runs("cifar10", "resnet20", "mp", 4, [1.0]),
    )
    assert tables(made)(1).to_numpy().tolist() == [["2 vs 4", "n/a", "<0.001"]]


def test_ratios_that_look_alike_have_columns_of_their_own():
    """The same sparsity makes other ratios of networks for images of one and of three channels."""
    cells = [("cifar10", 1.10949), ("cifar10", 2), ("fashion-mnist", 1.10894), ("fashion-mnist", 2)]
    table = tables(study(*(runs(dataset, "lenet5", "mp", ratio, LOW) for dataset, ratio in cells)))(7)
    assert table.columns.tolist() == ["Datasets", "t=1.10894", "t=1.10949", "t=2"]
    assert table.iloc[0, 1:3].tolist() == ["n/a", "n/a"]
    assert table.iloc[0, 3] != "n/a"


def test_models_that_are_no_resnets_are_named_in_full():
    table = tables(study(runs("toy", "lenet5", "mp", 2, LOW), runs("toy", "lenet5-double", "mp", 2, HIGH)))(5)
    assert table.columns.tolist() == ["Models", "t=2"]
    assert table["Models"].tolist() == ["LeNet vs lenet5-double"]
    assert "independent (welch)" in table.attrs["title"]


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 6, 7, 8, 9])
def test_tables_that_a_study_has_nothing_of_are_empty(number):
    assert tables(runs("toy", "net", "mp", 2, LOW))(number).empty


def test_accuracy_before_is_of_dense_networks_each_counted_once():
    made = study(runs("mnist", "lenet5", "mp", 2, [1, 1]), runs("mnist", "lenet5", "mp", 4, [1]))
    made.loc[made["seed"] == 0, "accuracy_before"] = 0.9
    assert tables(made)(10).to_numpy().tolist() == [["LeNet", "MNIST", "MP", "0.850"]]


def test_recall_variance_by_hand():
    made = study(
        runs("mnist", "lenet5", "mp", 2, [2.0, 1.0]),
        runs("mnist", "lenet5", "mp", 2.5, [0.5]),
        runs("mnist", "lenet5", "none", 1, [1.0]).assign(seed=1, dense_run_id="mnist lenet5 1"),
        runs("toy", "net", "mp", 2, [1.0], classes="cd"),
    )
    made.loc[made["dense_run_id"] == "mnist lenet5 0", ["recall_before/a", "recall_before/b"]] = [1.0, 0.6]
    table = tables(made)(11)
    assert table.columns.tolist() == ["Model", "Before", "Ratio 1", "Ratio 2", "Ratio 2.5"]
    # Recalls .8 -+ .1 alpha have the variance .01 alpha^2; before, one network has .04 and one .01.
    assert table.to_numpy().tolist() == [
        ["MNIST @ LeNet -> MP", "0.0250", "n/a", "0.0250", "0.0025"],
        ["MNIST @ LeNet -> none", "0.0100", "0.0100", "n/a", "n/a"],
        ["toy @ net -> MP", "0.0100", "n/a", "0.0100", "n/a"],
    ]


def compared(*cells):
    made = study(*cells)
    frame = compare(made, alphas(run_arrays(made)))
    return frame, frame.set_index(["table", "row", "column"])


def test_published_beside_ours():
    frame, of = compared(runs("cifar10", "resnet56", "mp", 2, LOW), runs("cifar10", "resnet56", "mp", 4, HIGH))
    assert frame.columns.tolist() == ["table", "row", "column", "published", "ours", "ours_unpaired", "difference"]
    assert of.loc[(1, "2 vs 4", "ResNet-56")].tolist() == ["0.036", "0.070", "", pytest.approx(0.034)]
    assert of.loc[(10, "CIFAR-10 @ ResNet-56 -> MP", "Accuracy"), "difference"] == pytest.approx(0.8 - 0.893)
    assert of.loc[(11, "CIFAR-10 @ ResNet-56 -> MP", "Before"), "difference"] == pytest.approx(0.01 - 0.0038)
    assert set(frame["table"]) == {1, 3, 4, 10, 11}
    assert frame.attrs["notes"] == []


@pytest.mark.slow
def test_every_printed_cell_of_the_papers_study_is_compared(papers_study):
    counts = compare(papers_study, alphas(run_arrays(papers_study)))["table"].value_counts()
    assert counts.sort_index().to_dict() == {
        1: 20, 2: 20, 3: 16, 4: 16, 5: 20, 6: 20, 7: 15, 8: 30, 9: 25, 10: 16, 11: 66
    }  # fmt: skip


def test_pruners_are_compared_paired_and_unpaired():
    _, of = compared(runs("cifar10", "resnet56", "mp", 50, LOW), runs("cifar10", "resnet56", "gp", 50, HIGH))
    row = of.loc[(8, "MP vs GP", "t=50")]
    # 6 x 2 x .017554
    assert row[["published", "ours"]].tolist() == ["0.037", "0.211"]
    # Welch of means 1.1333, 1.4333 and variances .023333, .043333.
    assert row["ours_unpaired"] == f"{6 * 2 * stats.t.sf(2.012461, 3.669725):.3f}"


@pytest.mark.parametrize("others", [("vgg11",), ("lenet5", "lenet5-double")])
def test_a_study_with_further_models_is_compared_with_print_in_the_tables_of_sizes(others):
    _, of = compared(*(runs("cifar10", name, "mp", 2, HIGH) for name in ("resnet20", "resnet32", *others)))
    # Equal samples have t = 0, p = 1/2, and 4 x 1/2 is above 1.
    assert of.loc[(5, "20 vs 32", "t=2"), ["published", "ours"]].tolist() == ["1.000", "1.000"]


def test_what_is_printed_as_a_bound_counts_as_the_bound():
    steps = [[0.1, 0.2, 0.3, 0.41], [1.1, 1.2, 1.3, 1.4]]
    cells = [runs("cifar10", "resnet20", "mp", ratio, step) for ratio, step in zip((2, 4), steps, strict=True)]
    row = compared(*cells)[1].loc[(1, "2 vs 4", "ResNet-20")]
    assert row[["published", "ours", "difference"]].tolist() == ["<0.001", "<0.001", 0]


def test_other_data_sets_models_and_pruners_are_not_taken_for_the_papers():
    toy = [runs("toy", "resnet56", "mp", ratio, step) for ratio, step in ((2, LOW), (4, HIGH))]
    frame = compared(*toy)[0]
    assert frame.empty
    assert any("no cell in common" in note for note in frame.attrs["notes"])
    gp = [runs("cifar10", "resnet20", "gp", ratio, step) for ratio, step in ((2, LOW), (4, HIGH))]
    assert compared(*gp)[0].empty


def test_the_released_codes_formula_is_compared_with_up():
    signed = [runs("cifar10", "resnet56", "up-signed", ratio, step) for ratio, step in ((2, LOW), (4, HIGH))]
    frame, of = compared(*signed)
    assert of.loc[(2, "2 vs 4", "ResNet-56"), ["published", "ours"]].tolist() == ["0.885", "0.070"]
    assert (11, "CIFAR-10 @ ResNet-56 -> UP", "Ratio 4") in of.index
    assert "UP" in frame.attrs["notes"][0]


def test_a_published_value_whose_networks_guess_here_has_no_counterpart_and_is_named():
    guessing = runs("cifar10", "resnet56", "mp", 10, HIGH).assign(accuracy_after=0.5)
    both = runs("cifar10", "resnet56", "mp", 2, LOW), runs("cifar10", "resnet56", "mp", 4, HIGH)
    frame, of = compared(*both, guessing)
    assert (1, "2 vs 4", "ResNet-56") in of.index
    assert (1, "4 vs 10", "ResNet-56") not in of.index
    assert (11, "CIFAR-10 @ ResNet-56 -> MP", "Ratio 10") in of.index
    left_out, lacking = frame.attrs["notes"]
    assert left_out.startswith("3 of 9 pruned networks have no alpha and are left out of the paper's tests")
    assert "Table 1: 4 vs 10, ResNet-56; Table 3" in lacking
    assert "Table 11" not in lacking
    assert "2 vs 4" not in lacking
    # Cells that this study never had are not named.
    assert "Ratio 20" not in lacking


def test_networks_at_chance_count_in_the_tables_of_means():
    made = study(runs("mnist", "lenet5", "mp", 2, [2.0, 1.0]), runs("mnist", "lenet5", "gp", 2, [1.0]))
    made.loc[(made["pruner"] == "mp") & (made["seed"] == 0), ["accuracy_before", "accuracy_after"]] = [0.9, 0.5]
    made.loc[made["pruner"] == "gp", "accuracy_after"] = 0.5
    table = tables(made)
    assert table(10).to_numpy().tolist() == [["LeNet", "MNIST", "MP", "0.850"], ["LeNet", "MNIST", "GP", "0.800"]]
    assert table(11).to_numpy().tolist() == [
        ["MNIST @ LeNet -> MP", "0.0100", "0.0250"],
        ["MNIST @ LeNet -> GP", "0.0100", "0.0100"],
    ]


@pytest.mark.attack
def test_a_model_named_as_the_header_of_a_table__has_a_column_of_its_own():
    models = ("Ratios", "resnet56")
    made = study(*(runs("cifar10", model, "mp", t, [1.0, 1.1, 1.3]) for model in models for t in (2, 4)))
    table = paper_table(1, runs=made, alphas=alphas(run_arrays(made)), tests=paper_tests(alphas(run_arrays(made))))
    assert [name.strip() for name in table] == ["Ratios", "ResNet-56", "Ratios"]
