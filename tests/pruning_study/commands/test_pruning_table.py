"""What the table and the sentences below it say of small made-up networks, worked out by hand."""

import numpy as np
import pytest

from analysis.statistics.hypothesis_tests import change_interval
from pruning_study.commands.pruning_table import SAME_NETWORK, UNPRUNED, Beyond, Cause, pruning_table, what_is_shown
from pruning_study.steps.class_changes import class_changes
from pruning_study.training.evaluation import Predictions

CLASSES = ["cat", "dog"]


def network(wrong, images=10):
    """Return predictions for two classes; `wrong` are the places of wrong ones."""
    label = np.repeat([0, 1], images)
    predicted = label.copy()
    predicted[list(wrong)] = 1 - predicted[list(wrong)]
    return Predictions(label, predicted, predicted[:, None], np.ones(len(label), np.float32))


def line(table, start):
    (found,) = [line for line in table.splitlines() if line.startswith(start)]
    return found.split()


def test_twenty_images_of_which_one_changed__are_said_to_show_nothing():
    """Accuracy .95 and .9, recalls (.9, 1) and (.8, 1): alpha is .95 / .9 * 2 = 2.11, and noise."""
    changes = class_changes(CLASSES, [network([0])], [network([0, 1])])
    assert changes.slopes.alpha == pytest.approx(0.95 / 0.9 * 2)
    table = str(pruning_table({10.0: changes}, {10.0: 9.98}))
    low, high = change_interval(lost=1, won=0, images=10)
    assert line(table, "cat") == [
        "cat",
        "0.900",
        "0.800",
        "-10.0",
        f"{100 * low:+.1f}",
        "to",
        f"{100 * high:+.1f}",
        "10",
    ]
    low, high = change_interval(lost=1, won=0, images=20)
    assert line(table, "accuracy")[3:] == ["-5.0", f"{100 * low:+.1f}", "to", f"{100 * high:+.1f}", "20"]
    assert line(table, "alpha") == ["alpha", "2.111"]
    assert line(table, "new images: alpha") == ["new", "images:", "alpha", "not", "identified"]
    said = what_is_shown({10.0: changes}, Cause())
    assert said.startswith(
        "ratio 10: accuracy went from 95.0 to 90.0 %, largest excess: cat 5.0 points\n"
        "  The networks are not shown to differ: none of 2 classes is shown by 20 images to have lost recall (cat may "
    )
    assert "\n  The differences between classes are too small" in said
    assert said.endswith("compare it with --pruner none, and use --seed 0-4.")


def test_a_class_that_lost_beyond_the_noise_is_named_and_the_others_are_not():
    """Of 100 cats 20 are lost and none is won; of 100 dogs 3 are lost and 2 won, which McNemar's test gives p = 1."""
    before, after = network([100, 101], 100), network([*range(20), 102, 103, 104], 100)
    changes = class_changes(CLASSES, [before], [after])
    assert changes.damaged == ["cat"]
    said = what_is_shown({2.0: changes}, Cause())
    assert "1 of 2 classes" in said
    assert "cat lost 20.0 points (" in said
    assert "dog lost" not in said


def test_networks_of_several_seeds_show_pruning_and_retraining_together__and_the_control_retraining_alone():
    changes = class_changes(CLASSES, [network([0]), network([1])], [network([0, 1]), network([1, 2])])
    assert changes.table["change"].tolist() == pytest.approx([-0.1, 0])
    assert "--pruner none shows those of retraining alone" in what_is_shown({2.0: changes}, Cause())
    assert UNPRUNED in what_is_shown({1.0: changes}, Cause(prunes=False))


def test_without_fine_tuning_pruning_alone_is_the_cause():
    """The text spoke of retraining, and advised a control that would be the dense network."""
    one = {2.0: class_changes(CLASSES, [network([0])], [network([0, 1])])}
    two = {2.0: class_changes(CLASSES, [network([0])] * 2, [network([0, 1]), network([1, 2])])}
    for changes in (one, two):
        said = what_is_shown(changes, Cause(retrains=False))
        assert "retraining" not in said
        assert "--pruner none" not in said
    assert "through pruning (" in said
    assert "retraining alone" not in what_is_shown(one, Cause(prunes=False, retrains=False))


def test_more_seeds_are_not_advised_for_a_given_network__and_all_seeds_are_said_to_prune_it():
    one = {2.0: class_changes(CLASSES, [network([0])], [network([0, 1])])}
    said = what_is_shown(one, Cause(), is_given=True)
    assert said.endswith("is the cause: compare it with --pruner none.")
    two = {2.0: class_changes(CLASSES, [network([0])] * 2, [network([0, 1]), network([1, 2])])}
    for prunes in (True, False):
        assert what_is_shown(two, Cause(prunes=prunes), is_given=True).endswith(SAME_NETWORK)
        assert SAME_NETWORK not in what_is_shown(two, Cause(prunes=prunes))


def test_the_mean_slope_of_two_networks_has_the_t_interval_over_them():
    """Recalls (.9, 1) become (.8, 1) and (.7, 1): raw slopes 2 and 3. The half-width is 12.706 sd / sqrt(2) = 6.353."""
    changes = class_changes(CLASSES, [network([0])] * 2, [network([0, 1]), network([0, 1, 2])])
    table = str(pruning_table({4.0: changes}, {4.0: 4.0}))
    assert line(table, "raw slope") == ["raw", "slope", "2.500", "-3.853", "to", "8.853"]


def test_classes_that_keep_their_differences_are_said_to_keep_them():
    """Recalls .5 and 1 stay, so that both slopes are exactly 1 on any images."""
    half = network(range(0, 1000, 2), 1000)
    changes = class_changes(CLASSES, [half], [half])
    table = str(pruning_table({2.0: changes}, {2.0: 2.0}))
    assert line(table, "new images: raw slope") == ["new", "images:", "raw", "slope", "1.000", "1.000", "to", "1.000"]
    assert "The differences between classes are the same to within 5 %" in what_is_shown({2.0: changes}, Cause())


def three_classes(*recalls, images=200):
    """Return predictions for three classes with these recalls."""
    label, place = np.repeat([0, 1, 2], images), np.tile(np.arange(images) / images, 3)
    predicted = np.where(place < np.repeat(recalls, images), label, (label + 1) % 3)
    return Predictions(label, predicted, predicted[:, None], np.ones(len(label), np.float32))


def test_classes_that_change_places_are_said_to_have_reversed_their_order():
    """Balances .25, 0, -.25 become -.2, 0, .2: the raw slope is -.8 and four fifths of the spread are left."""
    before, after = three_classes(0.95, 0.7, 0.45), three_classes(0.5, 0.7, 0.9)
    changes = class_changes(["cat", "dog", "owl"], [before], [after])
    assert changes.slopes.raw_slope == pytest.approx(-0.8)
    said = what_is_shown({2.0: changes}, Cause())
    assert " cat lost 45.0 points (" in said
    assert "\n  owl is shown to have 45.0 points more recall than in the network before.\n" in said
    assert "\n  The order of the classes reversed" in said
    assert "moved" not in said


THREE = ["cat", "dog", "owl"]


def test_of_a_network_that_names_one_class_losses_are_said_and_no_slopes():
    changes = class_changes(THREE, [three_classes(0.9, 0.8, 0.7)], [three_classes(1, 0, 0)])
    said = what_is_shown({50.0: changes}, Cause())
    # The accuracy loses 46.7 points and the second class 80.
    accuracy, at_chance, losses, *_, slopes, _ = said.splitlines()
    assert accuracy.endswith("from 80.0 to 33.3 %, largest excess: dog 33.3 points")
    assert "at chance" in at_chance
    assert all(words in losses for words in ("2 of 3 classes", "dog lost 80.0 points (", "owl lost 70.0 points ("))
    assert "nothing at chance" in slopes
    table = str(pruning_table({50.0: changes}, {50.0: 50.0}))
    assert line(table, "alpha") == ["alpha", "at", "chance"]
    assert "new images" not in table


def test_a_network_at_chance_is_left_out_of_the_slopes_alone():
    good, worse, names_one = three_classes(0.9, 0.8, 0.7), three_classes(0.9, 0.7, 0.5), three_classes(1, 0, 0)
    changes = class_changes(THREE, [good] * 3, [worse, names_one, worse])
    assert changes.slopes.raw_slope == pytest.approx(2)
    assert changes.table["change"].tolist() == pytest.approx([0.1 / 3, -1 / 3, -1.1 / 3])
    said = what_is_shown({8.0: changes}, Cause())
    # They lose 10, 46.7 and 10 points of accuracy, and 20, 70 and 20 of the last class.
    accuracy, at_chance, *_ = said.splitlines()
    assert accuracy.endswith("from 80.0 to 57.8 %, largest excess: owl 14.4 points")
    assert "1 of 3 networks is at chance" in at_chance


def test_a_dense_network_without_a_right_image_of_a_class_is_said_first():
    changes = class_changes(THREE, [three_classes(0.9, 0.8, 0)], [three_classes(0.9, 0.8, 0)])
    said = what_is_shown({2.0: changes}, Cause())
    assert said.startswith("The dense network is weak: no test image of owl is recognised.\nratio 2: accuracy")
    guessing = class_changes(THREE, [three_classes(1, 0, 0)], [three_classes(0.9, 0.8, 0.7)])
    said = what_is_shown({2.0: guessing}, Cause())
    at_chance, accuracy, losses, *_ = said.splitlines()
    assert at_chance == "The dense network is at chance."
    assert accuracy.endswith("from 33.3 to 80.0 %, largest excess: cat 56.7 points")
    assert "1 of 3 classes" in losses


def test_several_ratios_have_a_column_each__a_mark_where_a_loss_is_shown__and_their_intervals_below():
    """Of 100 cats 20 are lost at ratio 4, and none at ratio 2; the order of the columns is that of the ratios."""
    before, after = network([], 100), network(range(20), 100)
    ratios = {2.0: class_changes(CLASSES, [before], [before]), 4.0: class_changes(CLASSES, [before], [after])}
    changes, intervals = str(pruning_table(ratios, {2.0: 2.0, 4.0: 3.99}, details=False)).split("\n\n")
    assert line(changes, "cat") == ["cat", "1.000", "+0.0", "*-20.0", "100"]
    assert line(changes, "dog") == ["dog", "1.000", "+0.0", "+0.0", "100"]
    assert line(changes, "realised ratio") == ["realised", "ratio", "1", "2.00", "3.99"]
    low, high = change_interval(lost=20, won=0, images=100)
    assert line(intervals, "cat")[-3:] == [f"{100 * low:+.1f}", "to", f"{100 * high:+.1f}"]
    assert "alpha" not in intervals


def test_a_table_of_long_names_and_five_ratios_with_a_control_fits_a_terminal():
    names = ["T-shirt/top", "a class whose name has forty characters."]
    changes = class_changes(names, [network([], 100)], [network(range(20), 100)])
    ratios = (2.0, 4.0, 8.0, 16.0, 32.0)
    for shown in (ratios, ratios[:1]):
        beyond = Beyond(dict.fromkeys(shown, changes), {})
        table = str(pruning_table(dict.fromkeys(shown, changes), dict.fromkeys(shown, 2.0), beyond=beyond))
        assert max(map(len, table.splitlines())) <= 80
