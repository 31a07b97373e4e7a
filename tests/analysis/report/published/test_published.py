"""The printed tables: shapes, values, and the checksums of a second reading of print."""

import contextlib
import csv
from decimal import Decimal, InvalidOperation
from importlib import resources

import pytest

from analysis.report import published


@pytest.mark.parametrize("number", range(1, 10))
def test_printed_p_values(number):
    cells = published.table(number).iloc[:, 1:].to_numpy().ravel()
    assert all(cell == "<0.001" or 0 < float(cell) <= 1 for cell in cells)


def test_shapes_of_the_printed_tables():
    shapes = [published.table(number).shape for number in range(1, 14)]
    assert shapes[:6] == [(4, 6), (4, 6), (4, 5), (4, 5), (4, 6), (4, 6)]
    assert shapes[6:] == [(3, 6), (6, 6), (5, 6), (16, 4), (11, 7), (21, 4), (5, 3)]


def test_cells_as_printed():
    assert published.table(1).set_index("Ratios").loc["2 vs 4", "ResNet-44"] == "0.708"
    assert published.table(11).set_index("Model").loc["CIFAR-10 @ ResNet-56 -> UP", "Before"] == "0.004"
    assert published.table(12)["Intensification"][0] == ""


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("compressed_networks_populations", 22),
        ("compressed_networks_pie_accuracy", 16),
        ("compressed_networks_imagenet_c_top1", 12),
        ("compressed_networks_imagenet_c_top5_norm", 12),
        ("compressed_networks_imagenet_a", 6),
        ("compressed_networks_human_study", 5),
        ("prune_responsibly_ols", 40),
        ("prune_responsibly_table_01", 4),
    ],
)
def test_figures_of_the_other_papers(name, rows):
    frame = published.figures(name)
    assert len(frame) == rows
    assert frame.select_dtypes("number").shape[1] > 0


# The number of numeric cells and their sum, as someone else read the papers; `<0.001` counts as 0.001.
SECOND_READING = [
    ("compressed_networks_human_study", 10, "217.36"),
    ("compressed_networks_imagenet_a", 30, "-188.30"),
    ("compressed_networks_imagenet_c_top1", 36, "1704.43"),
    ("compressed_networks_imagenet_c_top1_norm", 36, "-248.99"),
    ("compressed_networks_imagenet_c_top5", 36, "2458.32"),
    ("compressed_networks_imagenet_c_top5_norm", 36, "-162.11"),
    ("compressed_networks_pie_accuracy", 94, "6307.65"),
    ("compressed_networks_populations", 65, "43915.30"),
    ("compressed_networks_protocol", 26, "133825.41"),
    ("prune_responsibly_ols", 235, "-507.1758"),
    ("prune_responsibly_protocol", 14, "821227.01"),
    ("prune_responsibly_summary", 20, "2171207.045"),
    ("prune_responsibly_table_01", 16, "6.081"),
    ("recall_distortion_table_01", 20, "0.840"),
    ("recall_distortion_table_02", 20, "1.046"),
    ("recall_distortion_table_03", 16, "3.206"),
    ("recall_distortion_table_04", 16, "3.965"),
    ("recall_distortion_table_05", 20, "6.408"),
    ("recall_distortion_table_06", 20, "4.149"),
    ("recall_distortion_table_07", 15, "4.971"),
    ("recall_distortion_table_08", 30, "4.032"),
    ("recall_distortion_table_09", 30, "92.002"),
    ("recall_distortion_table_10", 16, "13.968"),
    ("recall_distortion_table_11", 66, "1.2046"),
    ("recall_distortion_table_12", 83, "679.989"),
    ("recall_distortion_table_13", 14, "41.551"),
]


def numbers(cells):
    for cell in cells:
        with contextlib.suppress(InvalidOperation):
            yield Decimal(cell.removeprefix("<"))


@pytest.mark.parametrize(("name", "count", "total"), SECOND_READING)
def test_a_second_reading_of_print_agrees(name, count, total):
    with resources.files(published).joinpath(f"{name}.csv").open(encoding="utf-8", newline="") as file:
        found = [number for row in list(csv.reader(file))[1:] for number in numbers(row)]
    assert (len(found), sum(found)) == (count, Decimal(total))


def test_every_printed_table_was_read_twice():
    names = {path.name for path in resources.files(published).iterdir() if path.name.endswith(".csv")}
    assert names == {f"{name}.csv" for name, *_ in SECOND_READING}


@pytest.mark.parametrize("rank", ["top1", "top5"])
def test_printed_changes_under_corruptions_follow_from_the_printed_accuracies(rank):
    accuracy, change = (
        published.figures(f"compressed_networks_imagenet_c_{name}").set_index("corruption")
        for name in (rank, f"{rank}_norm")
    )
    dense = accuracy["sparsity_0.0"]
    for level in accuracy:
        assert (100 * (accuracy[level] / dense - 1) - change[level]).abs().max() < 0.03


def test_the_printed_regression_agrees_with_itself():
    printed = published.figures("prune_responsibly_ols").dropna()
    for end, sign in (("lower", -1), ("upper", 1)):
        expected = printed["coefficient"] + sign * 1.96 * printed["standard_error"]
        # A standard error of three decimals says the ends to .0005 * 1.96, and they have three decimals too.
        assert (printed[end] - expected).abs().max() < 0.0016
    t = printed["coefficient"] / printed["t"]
    assert (t - printed["standard_error"]).abs().max() < 0.0006


def test_labels():
    assert [published.label(name) for name in ("fashion-mnist", "lenet5", "up", "toy")] == [
        "Fashion",
        "LeNet",
        "UP",
        "toy",
    ]


def test_rank_is_by_size_then_by_name_with_numbers_as_numbers():
    models = ["vgg16", "resnet110", "net10", "resnet20", "lenet5", "net9"]
    assert sorted(models, key=published.rank) == ["lenet5", "resnet20", "resnet110", "net9", "net10", "vgg16"]


@pytest.mark.attack
def test_a_model_with_thousands_of_digits_in_its_name__has_its_place_in_the_order():
    names = ["resnet" + "9" * 5000, "resnet9000", "resnet010", "resnet9"]
    assert sorted(names, key=published.rank) == names[::-1]


@pytest.mark.attack
def test_a_name_with_ten_thousand_digits__has_a_rank():
    names = ["net" + "9" * 10_000, "net" + "1" * 10_000, "net2"]
    assert sorted(names, key=published.rank) == [names[2], names[1], names[0]]
