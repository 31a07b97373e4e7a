"""What methods, settings and levels are called."""

import numpy as np
import pytest

from analysis.report import ratio_plot
from analysis.report.methods.compare import compare
from analysis.runs import frames
from analysis.runs.primaries import MethodSelector
from analysis.study.arrays import run_arrays
from analysis.study.labels import in_words, letter_key, method_label, need_all_digits, setting_letters
from analysis.study.settings import CellKey, further_settings, shown_settings
from analysis.study.study import StudyData
from tests import made_up_levels
from tests.made_up_runs import runs, study
from tests.made_up_settings import CUBIC, DISTILLED, OFFSETS, ONE_SHOT, PLAIN, UNSPARED, WEIGHTED, toy


def letters_of(made):
    return setting_letters(made, shown_settings(made))


def key_of(made, letters):
    return letter_key(made, shown_settings(made), letters)


def all_digits(made):
    return need_all_digits(made, shown_settings(made))


def names_read(made, names):
    """Whether the name of each run, read as that of a primary comparison, stands for its cell."""
    cells = [CellKey.from_run(run, further_settings(made)).params for run in made.to_dict("records")]
    return [MethodSelector.from_label(name).among([cell]) == [0] for name, cell in zip(names, cells, strict=True)]


def test_mitigations_are_named_in_words():
    together = WEIGHTED | {"class_offsets": "dense"}
    made = study(
        *(toy("mp", 2, [1, 1.2], **ONE_SHOT, **spared) for spared in (UNSPARED, OFFSETS, WEIGHTED, together)),
        toy("mp", 2, [1, 1.2], **CUBIC, **OFFSETS),
    ).assign(**{"params.performance_weighted": "none", "params.constraint": "none"})
    more = made.iloc[[0]].assign(**{"params.performance_weighted": "0.5,1.0"})
    made = study(made, more, made.iloc[[0]].assign(**{"params.constraint": "ceag"}))
    names = [method_label(run, shown_settings(made)) for run in made.to_dict("records")]
    assert list(dict.fromkeys(names)) == [
        "mp",
        "mp class offsets",
        "mp class weights",
        "mp class offsets class weights",
        "mp cubic class offsets",
        "mp performance-weighted 0.5,1.0",
        "mp constraint ceag",
    ]
    assert all(names_read(made, names))


def test_details_of_mitigations_have_short_names_and_those_that_follow_from_others_none():
    steps = {("ceag", "train"): "0.01", ("ceag", "validation"): "0.5", ("equalized-loss", "validation"): "0.01"}
    constrained = [
        toy("mp", 2, [1, 1.2], **CUBIC, constraint=name, constraint_images=images, constraint_step=step)
        for (name, images), step in steps.items()
    ]
    made = study(
        *constrained, *(toy("mp", 2, [1], **WEIGHTED | {"class_weight_power": power}) for power in ("1.0", "2.0"))
    )
    shown = shown_settings(made)
    names = [method_label(run, shown, letters_of(made)) for run in made.to_dict("records")]
    assert list(dict.fromkeys(names)) == [
        "mp cubic constraint ceag (images train)",
        "mp cubic constraint ceag (images validation)",
        "mp cubic constraint equalized-loss (images validation)",
        "mp class weights (power 1.0)",
        "mp class weights (power 2.0)",
    ]
    assert all(names_read(made, names))


def test_a_label_says_what_is_not_as_in_the_papers():
    def label(*names, **params):
        values = {f"params.{name}": value for name, value in params.items()}
        return method_label({"pruner": "mp", **values}, [f"params.{name}" for name in names])

    assert label("distill", "schedule", **ONE_SHOT, **PLAIN) == "mp"
    assert label("distill", "schedule", **CUBIC, **PLAIN) == "mp cubic"
    assert label("distill", "schedule", **ONE_SHOT, **DISTILLED) == "mp distill 0.5"
    assert label("distill", "ramp", "schedule", **CUBIC, **DISTILLED) == "mp cubic distill 0.5 (ramp 0.5)"
    assert label("schedule", "epochs", "ramp", schedule=np.nan, epochs="5", ramp=None) == "mp (epochs 5)"
    assert label("scope", "epsilon", scope="layer", epsilon="0.07158707475562237") == "mp scope layer (epsilon 0.07159)"


@pytest.mark.parametrize(
    ("label", "read"),
    [
        ("mp", "mp"),
        ("distill 0.5", "teacher 0.5"),
        ("mp distill 0.5", "mp, teacher 0.5"),
        ("mp cubic distill 0.25 (ramp 0.5)", "mp cubic, teacher 0.25 (ramp 0.5)"),
        ("mp distill 0.5 class offsets", "mp, teacher 0.5, class offsets"),
        ("class offsets + distill 0.5", "class offsets + teacher 0.5"),
        ("distill 0.5 (temperature 3) + class offsets", "teacher 0.5 (temperature 3) + class offsets"),
        ("my-distill 0.5", "my-distill 0.5"),
    ],
)
def test_people_read_of_a_teacher(label, read):
    assert in_words(label, with_weight=True) == read
    assert in_words(label, with_weight=False) == read.replace("teacher 0.5", "teacher").replace(" 0.25", "")


@pytest.mark.parametrize(("weights", "named"), [(["0.5"], ["mp", "mp, teacher"]), (["0.5", "1.0"], None)])
def test_the_weight_of_a_teacher_is_named_where_a_study_has_several(weights, named):
    """The names of methods in tables that programs read keep the param."""
    runs = study(toy("mp", 2, [1, 1.1], **PLAIN), *(toy("mp", 2, [1, 1.1], distill=weight) for weight in weights))
    made = StudyData(runs)
    assert list(made.names.values()) == (named or ["mp", "mp, teacher 0.5", "mp, teacher 1.0"])
    assert list(made.names) == ["mp", *(f"mp distill {weight}" for weight in weights)]
    settings = [made.setting(run) for run in runs.drop_duplicates("params.distill").to_dict("records")]
    assert [ratio_plot.PlottedMethod("mp", setting).label for setting in settings] == list(made.names.values())


FIVE = [
    {"epochs": epochs, "learning_rate": rate, "phases": f"{epochs}x{rate}"}
    for epochs, rate in (("10", "0.01"), ("5", "0.1"), ("5", "0.05"), ("100", "0.1"), ("5", "0.01"))
]


def test_a_scope_that_is_the_pruners_own_goes_without_saying():
    """The built-in pruners compare all layers, except those that work by layer."""
    made = study(
        *(toy("mp", 2, [1, 1.2], scope=scope) for scope in ("global", "layer")),
        *(toy("l1-unstructured", 2, [1, 1.2], scope=scope) for scope in ("global", "layer")),
    )
    column = frames.column("scope")
    labels = {(run["pruner"], run[column]): method_label(run, shown_settings(made)) for _, run in made.iterrows()}
    assert labels == {
        ("mp", "global"): "mp",
        ("mp", "layer"): "mp scope layer",
        ("l1-unstructured", "global"): "l1-unstructured scope global",
        ("l1-unstructured", "layer"): "l1-unstructured",
    }


def test_settings_with_long_labels_get_letters_sorted_by_their_values():
    made = study(*(toy(pruner, 2, [1, 1.1], **params) for params in FIVE for pruner in ("mp", "up")))
    for runs_in_any_order in (made, made[::-1]):
        letters = letters_of(runs_in_any_order)
        key = key_of(runs_in_any_order, letters)
        assert set(key.columns) == {"letter", "epochs", "learning_rate"}
        assert key[["letter", "epochs", "learning_rate"]].to_numpy().tolist() == [
            ["A", "5", "0.01"],
            ["B", "5", "0.05"],
            ["C", "5", "0.1"],
            ["D", "10", "0.01"],
            ["E", "100", "0.1"],
        ]
        shown_here = shown_settings(runs_in_any_order)
        named = {method_label(row, shown_here, letters) for row in runs_in_any_order.to_dict("records")}
        assert named == {f"{pruner} {letter}" for pruner in ("mp", "up") for letter in "ABCDE"}


def test_a_letter_stands_for_a_label_that_is_too_long_or_that_two_settings_have():
    """`(epsilon 0.07159)` has 17 letters, `distill 0.5 (epsilon 0.07159)` has 29; digits behind the fourth are cut."""
    epsilons = "0.071587001", "0.071587002"
    one, two = (toy("up", 2, [1, 1.1], epsilon=epsilon, **PLAIN) for epsilon in epsilons)
    assert list(letters_of(study(one, two)).values()) == ["A", "B"]
    assert letters_of(study(one, toy("up", 2, [1], epsilon="0.1", **PLAIN))) == {}
    longer = toy("up", 2, [1], epsilon="0.071587001", **DISTILLED)
    made = study(one, longer, toy("up", 2, [1], epsilon="0.1", **PLAIN))
    letters = letters_of(made)
    assert letters == {(("distill", "0.5"), ("epsilon", "0.071587001")): "A"}
    assert key_of(made, letters).to_dict("records") == [{"letter": "A", "distill": "0.5", "epsilon": "0.07159"}]


def test_labels_and_the_key_have_all_digits_where_four_do_not_tell_two_settings_apart():
    near = [toy("up", 2, [1], epsilon=epsilon) for epsilon in ("0.071587001", "0.071587002")]
    far = [toy("up", 2, [1], epsilon=epsilon) for epsilon in ("0.071587001", "0.081587002")]
    assert all_digits(study(*near))
    assert not all_digits(study(*far))
    assert method_label(near[0].iloc[0], ["params.epsilon"], exact=True) == "up (epsilon 0.071587001)"
    key = key_of(study(*near), letters_of(study(*near)))
    assert key["epsilon"].tolist() == ["0.071587001", "0.071587002"]
    named = compare(run_arrays(study(*near, toy("mp", 2, [1]))))["method"].unique().tolist()
    assert named == ["up (epsilon 0.071587001)", "up (epsilon 0.071587002)"]


def test_after_z_come_two_letters():
    made = study(*(toy("mp", 2, [1], epochs=str(n), learning_rate="0.123456") for n in range(1, 30)))
    made["params.learning_rate"] = made["params.learning_rate"].mask(made["params.epochs"] == "1", "0.1")
    assert list(letters_of(made).values())[24:] == ["Y", "Z", "AA", "AB", "AC"]


def test_the_share_that_a_level_keeps_is_named_where_it_is_not_that_of_the_paper():
    made = made_up_levels.runs(pruners=("mp",), treatments=("finetune",), keep=0.5, loss={"mp": 0.1})
    label = method_label(made.iloc[0], shown_settings(made))
    assert label == "mp keep 0.5 finetune"
    one_shot = runs("mnist", "lenet5", "mp", 2, [1.0], keep="none", iteration="1")
    both = study(made, one_shot)
    assert {method_label(run, shown_settings(both)) for run in both.to_dict("records")} == {label, "mp"}
