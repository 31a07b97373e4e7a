"""Which params tell cells apart, which of them are shown, and what methods are called."""

import numpy as np
import pandas as pd
import pytest

from analysis import cells
from analysis.arrays import run_arrays
from analysis.runs import frames, schema
from analysis.settings import (
    CellKey,
    control_columns,
    ignore_options,
    main_setting,
    method_label,
    networks,
    pruner_settings,
    shown_settings,
    splitting_params,
)
from tests.made_up_runs import runs, study

ONE_SHOT = {"schedule": "one-shot"}
CUBIC = {"schedule": "cubic", "ramp": "0.5", "ramp_steps": "1", "regrow": "false"}
PLAIN = {"distill": "0.0"}
DISTILLED = {"distill": "0.5", "temperature": "2.0"}
TUNED = {"fine_tune_epochs": "3", "fine_tune_learning_rate": "0.01", "fine_tune_phases": "3x0.01"}
AS_PRUNED = {"fine_tune_epochs": "0"}


def toy(pruner, ratio, values, **params):
    return runs("toy", "net", pruner, ratio, values, **params)


def shown(*made):
    return [name.removeprefix("params.") for name in shown_settings(study(*made))]


def cut(made):
    """The runs of each cell, by run id."""
    arrays = run_arrays(made)
    return {frozenset(arrays.runs["run_id"].iloc[rows]) for rows in arrays.cells()}


MADE = study(
    toy("mp", 2, [1, 1.2], epochs="5", **ONE_SHOT, **PLAIN, **TUNED),
    toy("mp", 2, [1, 1.4], epochs="10", **ONE_SHOT, **PLAIN, **TUNED),
    toy("mp", 10, [1.3, 1.2], epochs="5", **CUBIC, **DISTILLED, **TUNED),
    toy("up", 2, [1.3, 1.2], epochs="5", epsilon="0.1", **ONE_SHOT, **PLAIN, **AS_PRUNED),
    toy("none", 1, [1, 1], epochs="5", **ONE_SHOT, **PLAIN, **TUNED),
)
PARAMS = [*schema.PARAM_ROLES, "output", "warmup"]


@pytest.mark.parametrize("param", PARAMS)
def test_one_run_more_never_cuts_a_study_anew(param):
    """Another run with any new value, in any param, leaves the runs of all cells together and adds itself to one."""
    before = cut(MADE)
    for place in range(len(MADE)):
        more = MADE.iloc[[place]].assign(run_id="more", dense_run_id="another")
        more[frames.column(param)] = 64.0 if param == "ratio" else 64 if param == "seed" else "new"
        after = cut(study(MADE, more))
        assert {cell - {"more"} for cell in after} - {frozenset()} == before
        assert (len(after) > len(before)) == (schema.role(param).role == "setting")


SAME_WHATEVER_IS_ADDED = ["n_none", "alpha_minus_none", "confidence"]


@pytest.mark.parametrize("param", [param for param in PARAMS if param not in ("seed", "weights_digest", "ratio")])
def test_one_run_more_changes_nothing_of_the_other_cells(param):
    """Their networks, controls and confidence stay as they are; another ratio alone shares the confidence."""
    if schema.role(param).role == "consequence":
        return
    made = cells.cells(MADE).set_index(["pruner", "ratio", "n", "alpha_mean"])
    for place in range(len(MADE)):
        # A run of the control is the same network whatever the settings of pruning say.
        if MADE["pruner"][place] == "none" and schema.role(param).concerns != "network":
            continue
        more = MADE.iloc[[place]].assign(run_id="more", dense_run_id="another", accuracy_after=0.7)
        more[frames.column(param)] = "new"
        for runs_of_both in (study(MADE, more), study(more, MADE)):
            again = cells.cells(runs_of_both).set_index(["pruner", "ratio", "n", "alpha_mean"])
            kept = again.index.intersection(made.index)
            assert len(kept) == len(made)
            for name in SAME_WHATEVER_IS_ADDED:
                assert again.loc[kept, name].tolist() == pytest.approx(made.loc[kept, name].tolist(), nan_ok=True), name


def test_consequences_and_seeds_tell_no_cells_apart():
    made = toy("mp", 2, [1, 1.2], phases="5x0.1").assign(**{"params.weights_digest": ["one", "two"]})
    assert len(cut(study(made, made.assign(**{"params.phases": "2x0.1 3x0.1", "run_id": ["c", "d"]})))) == 1


def test_a_setting_that_goes_with_the_pruner_is_a_setting_but_is_not_shown():
    made = study(toy("mp", 2, [1], epsilon="none"), toy("up", 2, [1], epsilon="0.1"))
    assert len(cut(made)) == 2
    assert shown(made) == []


def test_shown_are_settings_that_differ_between_cells_of_the_same_four():
    one, two = ({"weight_decay": "0.1", "epsilon": "0.1"}, {"weight_decay": "0.2", "epsilon": "0.2"})
    assert shown(toy("up", 2, [1, 1.2], **one), toy("up", 2, [1, 1.2], **two)) == ["weight_decay", "epsilon"]
    assert shown(toy("up", 2, [1, 1.2], **one), toy("up", 4, [1, 1.2], **two)) == []


def test_of_a_single_network_a_cell_every_param_that_differs_is_shown():
    assert shown(toy("mp", 2, [1], epochs="5"), toy("mp", 2, [1.2], epochs="10")) == ["epochs"]


def test_details_are_shown_where_one_value_has_several():
    made = [toy("mp", 20, [1, 1.1], **schedule, **PLAIN) for schedule in (ONE_SHOT, CUBIC)]
    made.append(toy("mp", 20, [1, 1.1], **ONE_SHOT, **DISTILLED))
    assert sorted(shown(*made)) == ["distill", "schedule"]
    assert sorted(shown(*made, toy("mp", 20, [1, 1.1], **CUBIC | {"ramp": "0.25"}, **PLAIN))) == [
        "distill",
        "ramp",
        "schedule",
    ]


@pytest.mark.parametrize("name", schema.FORMERLY)
def test_what_the_papers_leave_at_one_value_is_shown_even_where_it_goes_with_the_pruner(name):
    former = schema.FORMERLY[name]
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


def test_params_that_split_every_cell_are_found_among_those_that_do_not():
    made = study(
        toy("mp", 2, [1, 1.2], weight_decay="0.1", warmup="1"),
        toy("mp", 2, [1, 1.2], weight_decay="0.2", warmup="1"),
        toy("mp", 2, [1, 1.2], weight_decay="0.2", warmup="2"),
        toy("none", 1, [1, 1.2], weight_decay="0.2", warmup="2"),
    )
    assert splitting_params(made) == []
    made["params.output"] = made["run_id"].mask(made["pruner"] == "none")
    made["params.log"] = made["seed"].astype(str)
    assert splitting_params(made) == ["output", "log"]
    assert splitting_params(made[made["seed"] == 0]) == []


def test_a_control_shares_all_settings_but_those_of_pruning():
    names = {"epochs", "schedule", "ramp", "distill", "fine_tune_epochs", "fine_tune_learning_rate", "temperature"}
    assert names <= set(map(frames.param, MADE))
    shared = {"dataset", "model", "epochs", "distill", "temperature", "fine_tune_epochs", "fine_tune_learning_rate"}
    assert set(map(frames.param, control_columns(MADE))) == shared


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
    (note,) = kept.attrs["notes"]
    assert "4 runs left out" in note
    assert "epochs, epsilon" in note


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
    assert "19 runs left out, the papers'" in kept.attrs["notes"][0]
    without = made[(made["pruner"] != "mp") | (made["params.schedule"] == "cubic")]
    kept = main_setting(without, shown_settings(without)).groupby("pruner")["params.schedule"].unique()
    assert kept.map(list).to_dict() == {"mp": ["cubic"], "gp": ["one-shot"], "none": ["one-shot"]}


def test_the_main_setting_is_fine_tuned_even_with_fewer_runs():
    made = study(toy("mp", 2, [1.5, 1.5, 1.5], **AS_PRUNED), toy("mp", 2, [1, 1.2], **TUNED))
    kept = main_setting(made, shown_settings(made))
    assert set(kept["params.fine_tune_epochs"]) == {"3"}
    assert "3 runs left out, the papers'" in kept.attrs["notes"][0]


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


def test_a_second_pruning_has_a_control_of_its_own():
    made = study(toy("mp", 2, [1.2, 1.4], iteration="1"), toy("none", 1, [1, 1], iteration="1"))
    more = toy("none", 1, [2, 2], iteration="2")
    for both in (study(made, more), study(more, made)):
        summaries = cells.cells(both).set_index("pruner")
        assert summaries.loc["mp", "alpha_minus_none"] == pytest.approx(0.3)


@pytest.mark.attack
def test_a_shell_command_as_the_name_of_a_param__is_quoted_in_the_option_that_ignores_it():
    assert ignore_options(["out", "x; rm -rf ~"]) == "--ignore-param out --ignore-param 'x; rm -rf ~'"
