"""Printed values beside a study's: which cells have a counterpart, in which units."""

import pandas as pd
import pytest

from analysis.report.papers.compressed_networks.published_values import compare


def frames(dataset, model, pruner, ratio, level, **settings):
    """A cell's accuracies, class tests and exemplars."""
    key = {"dataset": dataset, "model": model, "pruner": pruner, "ratio": ratio, "method": pruner, "level": level}
    key |= settings
    accuracies = pd.DataFrame([key | {"n": 30, "accuracy_mean": 0.93, "dense_mean": 0.94}])
    tests = pd.DataFrame([key | {"class": name, "significant": name == "cat"} for name in ("cat", "dog")])
    summary = pd.DataFrame([key | {"n_pie": 150, "top1_pie": 0.5, "top1_non_pie": 0.95, "compressed_top5_all": 0.99}])
    return accuracies, tests, summary


def rows(*frames):
    found = compare(*frames)
    return {row["quantity"]: (row["in print"], row["ours"]) for row in found.to_dict("records")}


def test_the_sparsities_of_a_wide_resnet_on_cifar10():
    expected = {
        "top-1": (94.14, 93.0),
        "top-5": (99.8, 99.0),
        "significant classes": (2, 1),
        "PIEs": (216, 150),
        "dense top-1 on PIEs": (50.71, 50.0),
        "dense top-1 on other images": (95.6, 95.0),
    }
    anew = {"params.start": "initialization"}
    for dataset, ratio, level, settings in (
        ("cifar10", 9.7, 0.9, anew),
        ("cifar10", 9.7, 0.9, {}),
        ("cifar10", 10.0, 10.0, {}),
        ("cifar10-jpeg", 10.0, 10.0, {}),
    ):
        found = rows(*frames(dataset, "wrn16-4", "mp", ratio, level, **settings))
        assert found == {name: pytest.approx(values) for name, values in expected.items()}
    table = compare(*frames("cifar10", "wrn16-4", "mp", 10.0, 10.0))
    assert list(table) == ["dataset", "model", "method", "level", "quantity", "in print", "ours", "difference"]
    assert table["difference"][3] == pytest.approx(150 - 216)


def test_number_formats_on_imagenet_and_celeba():
    found = rows(*frames("imagenet", "torchvision:resnet50", "dynamic-int8", 1.0, 8.0))
    assert found["significant classes"] == (144, 1)
    assert found["PIEs"] == (2193, 150)
    assert rows(*frames("celeba", "torchvision:resnet18", "dynamic-int8", 1.0, 8.0))["PIEs"] == (404, 150)


@pytest.mark.parametrize("model", ["resnet50", "resnet-50", "timm:resnet50", "own_networks:resnet50"])
def test_a_resnet_50_may_come_from_any_library(model):
    assert rows(*frames("imagenet", model, "mp", 10.0, 10.0))["PIEs"][1] == 150


@pytest.mark.parametrize(
    ("dataset", "model", "pruner", "ratio"),
    [
        ("cifar10", "resnet20", "mp", 10.0),
        ("mnist", "wrn16-4", "mp", 10.0),
        ("cifar10", "wrn16-4", "up", 10.0),
        ("cifar10", "wrn16-4", "mp", 4.0),
        ("cifar10", "wrn16-4", "none", 1.0),
        ("imagenet", "timm:seresnet50", "mp", 10.0),
        ("imagenet", "torchvision:wide_resnet50_2", "mp", 10.0),
        ("celeba", "timm:legacy_seresnet18", "mp", 10.0),
    ],
)
def test_what_is_not_in_print_has_no_row(dataset, model, pruner, ratio):
    assert compare(*frames(dataset, model, pruner, ratio, ratio)).empty


def test_without_predictions_there_are_accuracies_and_classes():
    accuracies, tests, _ = frames("cifar10", "wrn16-4", "mp", 10.0, 10.0)
    assert rows(accuracies, tests, pd.DataFrame()).keys() == {"top-1", "significant classes"}
    assert compare(pd.DataFrame(), pd.DataFrame(), pd.DataFrame()).empty
