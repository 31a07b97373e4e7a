"""What `prune` prints about small made-up networks, worked out by hand."""

import pandas as pd

from pruning_study.commands.pruning_text import offset_lines, text
from pruning_study.steps.class_changes import class_changes
from tests.pruning_study.steps.test_class_changes import CLASSES, network


def test_each_ratio_has_a_heading_its_answers_and_a_table__and_slopes_follow():
    """Of 100 cats 20 are lost at ratio 4, and none at ratio 2."""
    before, after = network([], 100), network(range(20), 100)
    ratios = {2.0: class_changes(CLASSES, [before], [before]), 4.0: class_changes(CLASSES, [before], [after])}
    told = text(ratios, {2.0: 2.0, 4.0: 3.99}, details=False, remarks=["Nothing was pruned."])
    marks = ["ratio 2\n", "1. ", "2. ", "class ", "ratio 4\n", "cat is worse: 100.0 -> 80.0 %", "2. ", "class "]
    place = 0
    for mark in [*marks, "ratio 2: realised ratio 2.00", "ratio 4: realised ratio 3.99", "Nothing was pruned."]:
        place = told.index(mark, place) + 1
    assert "ratio 2" not in text({2.0: ratios[2.0]}, {2.0: 2.0}, details=False, remarks=[]).splitlines()
    assert "on new images" not in told


def test_the_mean_slope_of_two_networks_has_the_t_interval_over_them():
    """Recalls (.9, 1) become (.8, 1) and (.7, 1): raw slopes 2 and 3. The half-width is 12.706 sd / sqrt(2) = 6.353."""
    changes = class_changes(CLASSES, [network([0])] * 2, [network([0, 1]), network([0, 1, 2])])
    told = text({4.0: changes}, {4.0: 4.0}, details=False, remarks=[])
    assert "raw slope 2.500 (-3.853 to 8.853)" in " ".join(told.split())


def test_details_add_the_slopes_on_new_images():
    """Recalls .5 and 1 stay, so that both slopes are exactly 1 on any images."""
    half = network(range(0, 1000, 2), 1000)
    changes = class_changes(CLASSES, [half], [half])
    told = text({2.0: changes}, {2.0: 2.0}, details=True, remarks=[])
    assert "on new images 1.00 (1.00 to 1.00)" in " ".join(told.split())


def test_class_offsets_are_summed_up():
    table = pd.DataFrame({"class": ["cat", "dog", "owl"], "offset": [-0.25, 1.5, -1.25]})
    assert offset_lines({4.0: table}) == [
        "ratio 4: class offsets, fitted on validation images, raise the logit of dog most, by 1.50, and lower that of "
        "owl most, by 1.25"
    ]
    assert "class offsets are 0" in offset_lines({4.0: table.assign(offset=0.0)})[0]
