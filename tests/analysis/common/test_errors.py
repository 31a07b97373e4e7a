import pytest

from analysis.common.errors import did_you_mean, first_line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("bad\nluck"), "bad"),
        (ValueError(" \n bad luck \n"), "bad luck"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (ValueError("a" * 501), "a" * 500),
    ],
)
def test_an_error_fits_on_one_line(error, line):
    assert first_line(error) == line


def test_the_nearest_name_is_suggested():
    assert "lenet5" in did_you_mean("lenet", ["resnet20", "lenet5"])
    assert "resnet20" not in did_you_mean("lenet", ["resnet20", "lenet5"])


def test_where_no_name_is_near_all_are_listed_or_the_given_hint():
    assert did_you_mean("x", ["lenet5", "resnet20"]).endswith("lenet5, resnet20")
    assert did_you_mean("x", ["lenet5", "resnet20"], "name a model") == "name a model"
