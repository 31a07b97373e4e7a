import pytest

from analysis import published


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
        ("prune_responsibly_ols", 7),
    ],
)
def test_figures_of_the_other_papers(name, rows):
    frame = published.figures(name)
    assert len(frame) == rows
    assert frame.select_dtypes("number").shape[1] > 0


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
