"""Which params tell cells apart, and which of them are shown."""

import pandas as pd
import pytest

from analysis.runs import frames, schema
from analysis.study import cells
from analysis.study.arrays import run_arrays
from analysis.study.labels import method_label, need_all_digits, setting_letters
from analysis.study.settings import (
    CellKey,
    at_level,
    bits,
    control_columns,
    controls_at_level,
    is_pruned,
    level,
    main_setting,
    networks,
    pruner_settings,
    share_dense_networks,
    shown_settings,
)
from tests import made_up_levels
from tests.made_up_runs import runs, study
from tests.made_up_settings import AS_PRUNED, CUBIC, DISTILLED, OFFSETS, ONE_SHOT, PLAIN, TUNED, UNSPARED, toy


def shown(*made):
    return [name.removeprefix("params.") for name in shown_settings(study(*made))]


def cut(made):
    """The runs of each cell, by run id."""
    arrays = run_arrays(made)
    return {frozenset(arrays.runs["run_id"].iloc[rows]) for rows in arrays.cells}


MADE = study(
    toy("mp", 2, [1, 1.2], epochs="5", **ONE_SHOT, **PLAIN, **TUNED),
    toy("mp", 2, [1, 1.4], epochs="10", **ONE_SHOT, **PLAIN, **TUNED),
    toy("mp", 10, [1.3, 1.2], epochs="5", **CUBIC, **DISTILLED, **TUNED),
    toy("up", 2, [1.3, 1.2], epochs="5", epsilon="0.1", **ONE_SHOT, **PLAIN, **AS_PRUNED),
    toy("none", 1, [1, 1], epochs="5", **ONE_SHOT, **PLAIN, **TUNED),
)
PARAMS = [*schema.PARAM_ROLES, "output", "warmup"]


def one_more_of_each_cell(param, value, **others):
    """A further run of each cell of MADE, of a dense network of its own, with another value of a param."""
    more = MADE[MADE["seed"] == 0].assign(**others)
    ids = {"run_id": "more " + more["run_id"], "dense_run_id": "another " + more["run_id"]}
    return more.assign(**ids).assign(**{frames.column(param): value})


@pytest.fixture(scope="module")
def run_ids_of_cells():
    return cut(MADE)


@pytest.mark.parametrize("param", PARAMS)
def test_one_run_more_never_cuts_a_study_anew(param, run_ids_of_cells):
    """Another run with any new value, in any param, leaves the runs of all cells together and adds itself to one."""
    more = one_more_of_each_cell(param, 64.0 if param == "ratio" else 64 if param == "seed" else "new")
    after, added = cut(study(MADE, more)), set(more["run_id"])
    assert {cell - added for cell in after} - {frozenset()} == run_ids_of_cells
    is_alone = {run_id: cell <= added for cell in after for run_id in cell & added}
    assert is_alone == dict.fromkeys(added, schema.role(param).role == "setting")


def test_consequences_and_seeds_tell_no_cells_apart():
    made = toy("mp", 2, [1, 1.2], phases="5x0.1").assign(**{"params.weights_digest": ["one", "two"]})
    assert len(cut(study(made, made.assign(**{"params.phases": "2x0.1 3x0.1", "run_id": ["c", "d"]})))) == 1


def test_a_setting_that_goes_with_the_pruner_is_a_setting_but_is_not_shown():
    made = study(toy("mp", 2, [1], epsilon="none"), toy("up", 2, [1], epsilon="0.1"))
    assert len(cut(made)) == 2
    assert shown(made) == []


def test_shown_are_settings_that_differ_between_cells_of_the_same_four():
    one, two = ({"ramp": "0.1", "epsilon": "0.1"}, {"ramp": "0.2", "epsilon": "0.2"})
    assert shown(toy("up", 2, [1, 1.2], **one), toy("up", 2, [1, 1.2], **two)) == ["ramp", "epsilon"]
    assert shown(toy("up", 2, [1, 1.2], epsilon="0.1"), toy("up", 4, [1, 1.2], epsilon="0.2")) == []


@pytest.mark.parametrize("param", ["epochs", "weight_decay", "protocol", "dataset_digest", "batch_size"])
def test_shown_are_settings_of_the_dense_networks_wherever_they_differ_within_a_data_set_and_model(param):
    """A line over the ratios would else join networks of epochs 5 at ratio 2 with networks of epochs 10 at ratio 4."""
    one, two = toy("up", 2, [1, 1.2], **{param: "1"}), toy("mp", 4, [1, 1.2], **{param: "2"})
    assert shown(one, two) == [param]
    assert shown(one, two.assign(model="other")) == []


def test_details_are_shown_where_one_value_has_several():
    made = [toy("mp", 20, [1, 1.1], **schedule, **PLAIN) for schedule in (ONE_SHOT, CUBIC)]
    made.append(toy("mp", 20, [1, 1.1], **ONE_SHOT, **DISTILLED))
    assert sorted(shown(*made)) == ["distill", "schedule"]
    assert sorted(shown(*made, toy("mp", 20, [1, 1.1], **CUBIC | {"ramp": "0.25"}, **PLAIN))) == [
        "distill",
        "ramp",
        "schedule",
    ]


@pytest.mark.parametrize("name", schema.ABSENT)
def test_what_the_papers_leave_at_one_value_is_shown_even_where_it_goes_with_the_pruner(name):
    former = schema.ABSENT[name]
    assert shown(toy("mp", 2, [1, 1.1], **{name: former}), toy("up", 2, [1, 1.1], **{name: "other"})) == [name]


def test_epochs_of_fine_tuning_that_go_with_the_model_are_not_shown():
    other = runs("toy", "resnet20", "mp", 2, [1, 1.2], **TUNED | {"fine_tune_epochs": "25"})
    assert shown(toy("mp", 2, [1, 1.2], **TUNED), toy("none", 1, [1, 1], **TUNED), other) == []
    assert shown(toy("mp", 2, [1, 1.2], **TUNED), toy("rp", 2, [1, 1], **AS_PRUNED)) == ["fine_tune_epochs"]


def test_a_cell_key_has_the_settings_that_a_run_has():
    run = {"dataset": "toy", "model": "net", "pruner": "mp", "ratio": 2.0, "params.epochs": "5", "params.epsilon": None}
    key = CellKey.from_run(run, ["params.epsilon", "params.epochs"])
    assert key == CellKey("toy", "net", "mp", 2.0, (("epochs", "5"),))
    assert key.params == {"dataset": "toy", "model": "net", "pruner": "mp", "ratio": 2.0, "epochs": "5"}
    other = key._replace(pruner="gp", settings=(("epochs", "5"), ("epsilon", "0.1")))
    assert key.without({"pruner", "epsilon"}) == other.without({"pruner", "epsilon"})
    assert key.without({"pruner"}) != other.without({"pruner"})


def test_networks_are_told_apart_by_seed_and_given_weights():
    frame = pd.DataFrame({"seed": [0, 0, 1, 0], "params.weights_digest": ["a", "b", "a", "a"]})
    assert networks(frame).factorize()[0].tolist() == [0, 1, 2, 0]
    assert networks(frame[["seed"]]).tolist() == [0, 0, 1, 0]
    without = frame.assign(**{"params.weights_digest": [None, None, None, "a"]})
    assert networks(without).factorize()[0].tolist() == [0, 0, 1, 2]


def test_a_control_shares_all_settings_but_those_of_pruning():
    names = {"epochs", "schedule", "ramp", "distill", "fine_tune_epochs", "fine_tune_learning_rate", "temperature"}
    assert names <= set(map(frames.param, MADE))
    shared = {"dataset", "model", "epochs", "distill", "temperature", "fine_tune_epochs", "fine_tune_learning_rate"}
    assert set(map(frames.param, control_columns(MADE))) == shared


def test_a_mitigation_is_shown_even_if_every_run_has_it():
    made = toy("mp", 2, [1, 1.2], **OFFSETS)
    assert shown_settings(made) == ["params.class_offsets"]
    assert method_label(made.iloc[0], shown_settings(made)) == "mp class offsets"
    assert shown_settings(toy("mp", 2, [1, 1.2], **UNSPARED)) == []


def test_an_unknown_param_belongs_to_pruners_if_another_lacks_it():
    made = study(toy("chip", 2, [1], maps="8"), toy("mp", 2, [1]), toy("none", 1, [1], maps="1"))
    assert pruner_settings(made) == {"params.maps"}
    assert pruner_settings(made, lacked_by="mp") == {"params.maps"}
    assert pruner_settings(made, lacked_by="none") == set()


def test_the_main_setting_is_that_of_most_runs_and_one_for_each_pruner():
    made = study(
        toy("mp", 2, [1, 1, 1], epochs="5"),
        toy("mp", 2, [1, 1], epochs="10"),
        toy("up", 2, [1, 1], epochs="5", epsilon="0.1"),
        toy("up", 2, [1, 1, 1], epochs="5", epsilon="0.2"),
    )
    kept = main_setting(made, shown_settings(made))
    assert kept["pruner"].value_counts().to_dict() == {"mp": 3, "up": 3}
    assert set(kept["params.epochs"]) == {"5"}
    assert set(kept["params.epsilon"].dropna()) == {"0.2"}
    assert kept.attrs["notes"] == [
        "in tests and tables: 2 runs left out, because another setting has more runs (epochs 5)",
        "in tests and tables: 2 runs left out, because another setting has more runs (epsilon 0.2)",
    ]


def test_of_settings_with_equally_many_runs_the_first_is_the_main_one():
    made = study(*(toy("up", 2, [1, 1], epsilon=epsilon) for epsilon in ("0.02", "0.01")))
    kept = main_setting(made, shown_settings(made))
    assert set(kept["params.epsilon"]) == {"0.01"}
    assert kept.attrs["notes"] == [
        "in tests and tables: 2 runs left out, because only the first of the settings with equally many runs is shown "
        "(epsilon 0.01)"
    ]


def test_the_main_setting_is_the_papers_where_it_is_there_even_with_fewer_runs():
    made = study(
        *(
            toy(pruner, 20, alphas, **schedule, **distill)
            for pruner in ("mp", "gp")
            for alphas, schedule in (([1, 1], ONE_SHOT), ([1, 1, 1], CUBIC))
            for distill in (PLAIN, DISTILLED)
        ),
        *(toy("none", 1, [1, 1, 1], **ONE_SHOT, **distill) for distill in (PLAIN, DISTILLED)),
    )
    kept = main_setting(made, shown_settings(made))
    assert kept.groupby("pruner").size().to_dict() == {"mp": 2, "gp": 2, "none": 3}
    assert set(kept["params.schedule"] + " " + kept["params.distill"]) == {"one-shot 0.0"}
    assert kept.attrs["notes"] == [
        f"in tests and tables: {n} runs left out, because the setting nearest to the papers' is shown ({value})"
        for n, value in ((13, "distill 0.0"), (6, "schedule one-shot"))
    ]
    without = made[(made["pruner"] != "mp") | (made["params.schedule"] == "cubic")]
    kept = main_setting(without, shown_settings(without)).groupby("pruner")["params.schedule"].unique()
    assert kept.map(list).to_dict() == {"mp": ["cubic"], "gp": ["one-shot"], "none": ["one-shot"]}


def test_groups_share_dense_networks_where_any_two_of_them_do():
    groups = pd.DataFrame({"method": ["a", "a", "b", "b", "c"], "dense_run_id": ["one", "two", "two", "three", "two"]})
    assert share_dense_networks(groups, ["method"])
    assert not share_dense_networks(groups.assign(dense_run_id=["one", "two", "two", "three", "three"]), ["method"])
    assert share_dense_networks(groups[:2], ["method"])


FLOAT32 = {"number_format": "float32"}
ANEW = {"start": "initialization", "schedule": "cubic", "begin": "0", "end": "9", "frequency": "1", "regrow": "true"}


def compressed():
    """Networks that are pruned at once, in steps or while trained; the control; and number formats of each kind."""
    from_dense = {"start": "dense", **TUNED}
    return study(
        toy("mp", 10, [1], **from_dense, **ONE_SHOT, **FLOAT32),
        toy("mp", 10, [1], **from_dense, **CUBIC, **FLOAT32),
        toy("mp", 10, [1], **ANEW, **FLOAT32, scope="layer", sparsity="0.93"),
        toy("none", 1, [1], **from_dense, **ONE_SHOT, **FLOAT32),
        toy("mp", 10, [1], **from_dense, **ONE_SHOT, number_format="fixed-int8"),
        toy("float16", 1, [1], start="dense", **ONE_SHOT, number_format="float16"),
        toy("fixed-int8", 1, [1], start="dense", **ONE_SHOT, number_format="fixed-int8"),
        toy("none fixed-int8", 1, [1], **from_dense, **ONE_SHOT, number_format="fixed-int8"),
    )


def test_steps_that_differ_with_the_size_of_the_data_set_are_not_shown():
    """The same shares of the training are other numbers of steps."""
    made = study(
        runs("fashion-mnist", "net", "mp", 10, [1], **ANEW),
        runs("cifar10", "net", "mp", 10, [1], **{**ANEW, "begin": "1", "end": "8"}),
    )
    assert shown_settings(made) == []


def test_methods_are_named_by_what_differs_and_levels_are_ratios_sparsities_or_bits():
    made = compressed()
    named = [(method_label(run, shown_settings(made)), level(run)) for run in made.to_dict("records")]
    assert named == [
        ("mp", 10.0),
        ("mp cubic", 10.0),
        ("mp initialization scope layer", 0.93),
        ("none", 1.0),
        ("mp fixed-int8", 10.0),
        ("float16", 16.0),
        ("fixed-int8", 8.0),
        ("none fixed-int8", 8.0),
    ]
    assert setting_letters(made, shown_settings(made)) == {}


def test_a_number_format_is_shown_even_if_every_run_has_it():
    assert shown(toy("mp", 2, [1], number_format="fixed-int8")) == ["number_format"]
    assert shown(toy("mp", 2, [1], **FLOAT32)) == []


def test_number_formats_are_not_pruned_and_have_fewer_bits():
    made = compressed()
    assert is_pruned(made).tolist() == [True, True, True, False, True, False, False, False]
    assert bits(made).tolist() == [32, 32, 32, 32, 8, 16, 8, 8]
    assert bits(toy("mp", 2, [1])).tolist() == [32]


def test_levels_of_iterative_pruning_are_one_method_and_cells_of_their_own():
    made = made_up_levels.runs(pruners=("l1-structured", "none"), levels=3)
    columns = shown_settings(made)
    assert columns == ["params.iteration", "params.keep", "params.weight_treatment"]
    assert len(cut(made)) == 2 * 2 * 3
    assert {method_label(run, columns) for run in made.to_dict("records")} == {
        *("l1-structured finetune", "l1-structured rewind", "none finetune", "none rewind")
    }
    assert not need_all_digits(made, shown_settings(made))


def test_levels_of_an_iteration_stand_together_though_rounding_moves_their_ratios():
    made = study(
        made_up_levels.runs(pruners=("global-unstructured",), seeds=1).replace({"ratio": {1.545117: 1.5}}),
        made_up_levels.runs(pruners=("l1-structured", "none"), seeds=1),
        runs("mnist", "lenet5", "mp", 1.5, [1.0]),
    )
    found = made[at_level(made, 1.5)]
    assert set(found["params.iteration"].dropna()) == {"2"}
    assert set(found["pruner"]) == {"global-unstructured", "l1-structured", "mp"}
    assert at_level(made[made["pruner"] == "mp"], 2.0).tolist() == [False]


def test_an_iterated_control_belongs_to_its_iteration_and_any_other_to_all_ratios():
    iterated = made_up_levels.runs(pruners=("global-unstructured", "none"), treatments=("rewind",), seeds=1)
    made = study(iterated, runs("mnist", "lenet5", "none", 1, [1.0]))
    ratio = made.loc[made["params.iteration"] == "2", "ratio"].max()
    found = made[controls_at_level(made, ratio)]
    assert found["pruner"].unique().tolist() == ["none"]
    assert found["params.iteration"].fillna("plain").tolist() == ["2", "plain"]


def test_cells_of_a_chain_are_in_the_order_of_its_iterations():
    made = made_up_levels.runs(pruners=("global-unstructured", "none"), treatments=("rewind",), levels=11)
    frame = cells.cells(run_arrays(made))
    assert frame["params.iteration"].tolist() == [*map(str, range(1, 12)), *map(str, range(1, 12))]
    assert frame["n_none"].tolist() == [2] * 11 + [0] * 11
