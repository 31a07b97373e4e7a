from dataclasses import replace

import numpy as np
import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from analysis.common.errors import StudyError
from pruning_study.options.config import ANCHORS
from pruning_study.study.tuning import objectives
from pruning_study.study.tuning.objectives import PairedRecalls
from pruning_study.study.tuning.search import AS_MAGNITUDE, Point, Space, TuningSearch
from pruning_study.tracking import connect
from tests.deadline import wait_until
from tests.error_lines import refused
from tests.warm_processes import WarmProcess, run_code

DENSE = np.array([0.9, 0.8, 0.7])


@pytest.fixture
def store(store_uri):
    return connect.connect()


def space(objective="accuracy", **changed):
    return Space(
        **{"objective": objective, "ratios": (10.0,), "epsilon_range": (1e-8, 1e2), "usual_epsilon": 5e-4} | changed
    )


def lost(points, seeds=3):
    """Networks that lost so many points each, the same of every class."""
    before = np.repeat(DENSE[:seeds, None], 2, axis=1) + np.array([0.05, -0.05])
    after = before - points / 100
    return PairedRecalls(before, after, before * after, np.array([100, 100]))


def made(search, total, points=1.0):
    """Make the trials that are missing; their epsilons."""
    epsilons = []
    while True:
        with search.trial(total, late=False) as trial:
            if not trial:
                return epsilons
            epsilons.append(search.point(trial).epsilon)
            search.record(trial, lost(points), stopped=False)
            search.end(trial.number)


class TestSpace:
    def test_the_anchors_are_those_that_the_options_count(self):
        assert tuple(space().anchors(10.0)) == ANCHORS
        assert len(space(longest_ramp=0.8, ramp=0.5).anchors(10.0)) == 2 * len(ANCHORS)

    def test_the_anchors_have_the_schedule_and_the_distillation_of_all_trials(self):
        assert space(ramp=0.25, distill=0.3).anchors(10.0) == {
            "lambda": Point(5e-4, 10.0, 0.25, 0.3),
            "MP": Point(1e8, 10.0, 0.25, 0.3),
            "GP": Point(0.0, 10.0, 0.25, 0.3),
        }

    def test_a_strength_is_an_option_of_the_mitigation_that_is_on(self):
        searched = space(strength_of="offset_shrinkage", strength=1.0)
        assert [point.strength for point in searched.anchors(10.0).values()] == [1.0, 1.0, 1.0]
        plain = {"epsilon": 0.1, "schedule": "one-shot", "distill": 0.0}
        assert searched.options(Point(0.1, 10.0, strength=2.5)) == {**plain, "offset_shrinkage": 2.5}
        assert space().options(Point(0.1, 10.0)) == plain
        told = {"strength_of": "offset_shrinkage", "strength_range": "0.0,4.0", "anchors_strength": "1.0"}
        assert searched.params == space().params | told

    def test_the_number_of_options_that_are_searched(self):
        assert space().dimensions == 1
        assert space(ratios=(5.0, 10.0)).dimensions == 2
        assert space(ratios=(5.0, 10.0), longest_ramp=0.8).dimensions == 4
        assert space(strength_of="class_weight_power").dimensions == 2

    def test_params_without_and_with_schedules(self):
        plain = {"objective": "accuracy", "ratios": "10.0", "epsilon_range": "1e-08,100.0", "lambda": "0.0005"}
        assert space().params == plain
        assert space(settings={"seeds": "0,1"}, longest_ramp=0.8, ramp=0.5, distill=0.3).params == {
            **plain,
            "seeds": "0,1",
            "ramp_range": "0.0,0.8",
            "distill_range": "0.0,1.0",
            "anchors_ramp": "0.5",
            "anchors_distill": "0.3",
        }


def test_the_anchors_come_first_and_count(store, request):
    search = TuningSearch(store, request.node.name, space())
    epsilons = made(search, 5)
    assert epsilons[:3] == [5e-4, AS_MAGNITUDE, 0.0]
    assert len(epsilons) == 5
    assert all(1e-8 <= epsilon <= 1e2 for epsilon in epsilons[3:])
    trials = search.trials()
    assert trials["anchor"].tolist() == ["lambda", "MP", "GP", "", ""]
    assert trials["epsilon"].tolist() == epsilons
    assert trials["accuracy"].to_numpy() == pytest.approx(0.79)


def test_each_ratio_has_its_anchors_and_the_ratio_is_searched(store, request):
    search = TuningSearch(store, request.node.name, space(ratios=(5.0, 10.0)))
    made(search, 9)
    trials = search.trials()
    anchors = trials[trials["anchor"] != ""]
    assert [tuple(row) for row in anchors[["ratio", "anchor"]].to_numpy()] == [
        (ratio, anchor) for ratio in (5.0, 10.0) for anchor in ("lambda", "MP", "GP")
    ]
    assert set(trials["ratio"]) <= {5.0, 10.0}


def test_optuna_knows_no_epsilon_of_an_anchor_outside_the_range(store, request):
    """0 has no place on a log scale, and 1e8 none between 1e-8 and 1e2: the sampler learns nothing wrong of them."""
    search = TuningSearch(store, request.node.name, space())
    made(search, 4)
    study = optuna.load_study(
        study_name=request.node.name, storage=JournalStorage(JournalFileBackend(str(search.journal)))
    )
    assert [trial.params.get("epsilon") for trial in study.trials[:3]] == [5e-4, None, None]
    assert [trial.user_attrs.get("epsilon") for trial in study.trials] == [5e-4, AS_MAGNITUDE, 0.0, None]


@pytest.mark.parametrize(
    ("objective", "names"),
    [("accuracy", ["accuracy"]), ("alpha", ["distortion"]), ("both", ["accuracy", "distortion"])],
)
def test_optuna_names_the_numbers_that_a_trial_ends_with(store, request, objective, names):
    """The dense networks have the mean accuracy .8, of which each trial loses a point."""
    search = TuningSearch(store, request.node.name, space(objective))
    made(search, 1)
    study = optuna.load_study(
        study_name=request.node.name, storage=JournalStorage(JournalFileBackend(str(search.journal)))
    )
    assert study.metric_names == names
    trial = search.trials().iloc[0]
    assert trial["accuracy"] == pytest.approx(0.79)
    assert study.trials[0].values == [trial[name] for name in names]


def test_epsilon_alone_is_searched_where_it_was_before_there_were_schedules(store, request):
    assert made(TuningSearch(store, request.node.name, space()), 6)[3:] == pytest.approx(
        [0.0003646397602530523, 4.6902402625582875e-08, 0.00013290762632943895]
    )


class TestSchedules:
    SPACE = space(longest_ramp=0.8, ramp=0.5, distill=0.3)

    def test_each_anchor_comes_in_one_shot_and_gradually(self, store, request):
        search = TuningSearch(store, request.node.name, self.SPACE)
        made(search, 12)
        trials = search.trials()
        assert trials["anchor"].tolist()[:7] == ["lambda", "MP", "GP", "lambda cubic", "MP cubic", "GP cubic", ""]
        assert trials["epsilon"].tolist()[:6] == [5e-4, AS_MAGNITUDE, 0.0] * 2
        assert trials["ramp"].tolist()[:6] == [0.0] * 3 + [0.5] * 3
        assert trials["distill"].tolist()[:6] == [0.3] * 6

    @pytest.mark.slow
    def test_ramps_and_distillation_are_searched_in_steps_that_have_0(self, store, request):
        search = TuningSearch(store, request.node.name, self.SPACE)
        made(search, 40)
        trials = search.trials().iloc[6:]
        steps = [index / 20 for index in range(21)]
        assert set(trials["ramp"]) <= set(steps[:17])
        assert set(trials["distill"]) <= set(steps)
        assert trials["ramp"].nunique() > 5
        assert trials["distill"].nunique() > 5

    def test_optuna_knows_no_ramp_of_an_anchor_that_no_trial_could_have(self, store, request):
        search = TuningSearch(store, request.node.name, space(longest_ramp=0.8, ramp=1 / 3, distill=0.3))
        made(search, 6)
        study = optuna.load_study(
            study_name=request.node.name, storage=JournalStorage(JournalFileBackend(str(search.journal)))
        )
        assert [trial.params.get("ramp") for trial in study.trials] == [0.0] * 3 + [None] * 3
        assert search.trials()["ramp"].tolist() == [0.0] * 3 + [1 / 3] * 3

    def test_a_break_changes_nothing(self, store, request):
        broken = TuningSearch(store, f"{request.node.name} broken, schedules", self.SPACE)
        made(broken, 8)
        made(TuningSearch(store, broken.name, self.SPACE), 12)
        whole = TuningSearch(store, f"{request.node.name} whole, schedules", self.SPACE)
        made(whole, 12)
        columns = ["anchor", "epsilon", "ramp", "distill"]
        assert broken.trials()[columns].equals(whole.trials()[columns])

    def test_other_anchors_are_another_space(self):
        other = [replace(self.SPACE, **changed).digest for changed in ({"ramp": 0.4}, {"distill": 0.0})]
        assert len({self.SPACE.digest, *other}) == 3

    def test_a_point_without_ramp_is_one_shot(self):
        assert Point(1e-3, 10.0).options == {"epsilon": 1e-3, "schedule": "one-shot", "distill": 0.0}
        assert Point(1e-3, 10.0, ramp=0.35, distill=0.1).params == {
            "epsilon": "0.001",
            "ratio": "10.0",
            "schedule": "cubic",
            "ramp": "0.35",
            "distill": "0.1",
        }


class TestDecays:
    SPACE = space(decays=("none", "cosine", "linear"), decay="none")

    def make(self, search, total):
        """Make the trials that are missing, of which those with cosine lose least."""
        points = {"none": 3.0, "cosine": 1.0, "linear": 2.0}
        while True:
            with search.trial(total, late=False) as trial:
                if not trial:
                    return
                search.record(trial, lost(points[search.point(trial).fine_tune_decay]), stopped=False)
                search.end(trial.number)

    def test_a_search_finds_the_decay_that_costs_least_and_then_tries_it_most(self, store, request):
        search = TuningSearch(store, request.node.name, self.SPACE)
        self.make(search, 20)
        trials = search.trials()
        assert trials["fine_tune_decay"].tolist()[:3] == ["none"] * 3
        assert set(trials["fine_tune_decay"]) == {"none", "cosine", "linear"}
        best = objectives.winner(trials, "accuracy").trial
        assert trials["fine_tune_decay"][best] == "cosine"
        assert (trials["fine_tune_decay"].iloc[10:] == "cosine").mean() > 0.5

    def test_a_break_keeps_the_points(self, store, request):
        broken = TuningSearch(store, f"{request.node.name} broken, decays", self.SPACE)
        self.make(broken, 5)
        before = broken.trials()["fine_tune_decay"].tolist()
        again = TuningSearch(store, broken.name, self.SPACE)
        self.make(again, 8)
        whole = TuningSearch(store, f"{request.node.name} whole, decays", self.SPACE)
        self.make(whole, 8)
        columns = ["anchor", "epsilon", "fine_tune_decay"]
        assert again.trials()[columns].equals(whole.trials()[columns])
        assert again.trials()["fine_tune_decay"].tolist()[:5] == before

    def test_a_decay_is_a_param_only_where_it_is_searched(self, store, request):
        plain = {"epsilon": 0.1, "schedule": "one-shot", "distill": 0.0}
        assert Point(0.1, 10.0, fine_tune_decay="cosine").options == {**plain, "fine_tune_decay": "cosine"}
        assert "fine_tune_decay" not in Point(0.1, 10.0).values
        told = {"fine_tune_decays": "none,cosine,linear", "anchors_fine_tune_decay": "none"}
        assert self.SPACE.params == space().params | told
        assert self.SPACE.dimensions == 2
        search = TuningSearch(store, request.node.name, space())
        made(search, 3)
        assert "fine_tune_decay" not in search.trials()


def test_a_whole_search_has_nothing_left_and_a_longer_one_goes_on(store, request):
    assert len(made(TuningSearch(store, request.node.name, space()), 4)) == 4
    assert made(TuningSearch(store, request.node.name, space()), 4) == []
    assert len(made(TuningSearch(store, request.node.name, space()), 6)) == 2


def test_a_break_changes_nothing(store, request):
    broken = TuningSearch(store, f"{request.node.name} broken", space())
    made(broken, 6)
    whole = made(TuningSearch(store, f"{request.node.name} whole", space()), 12)
    assert made(TuningSearch(store, broken.name, space()), 12) == whole[6:]
    assert len(set(whole)) == 12


def test_two_processes_never_take_the_same_trial(store, request):
    first, second = (TuningSearch(store, request.node.name, space()) for _ in range(2))
    with first.trial(4, late=False) as one, second.trial(4, late=False) as two:
        assert (one.number, two.number) == (0, 1)
        assert first.running()
        with second.trial(2, late=False) as none:
            assert none is not None, "an anchor that is missing is made whatever the total"
            second.record(none, lost(1), stopped=False)
            second.end(none.number)
        second.record(two, lost(1), stopped=False)
        second.end(two.number)
        first.record(one, lost(1), stopped=False)
        first.end(one.number)
    assert not first.running()
    with second.trial(3, late=False) as none:
        assert none is None


@pytest.mark.parametrize("objective", ["accuracy", "alpha", "both"])
def test_a_search_keeps_away_from_strengths_that_are_refused(store, request, objective):
    """All other trials are ten points less accurate than the anchors, too little to win with the objective alpha."""
    search = TuningSearch(store, request.node.name, space(objective, strength_of="constraint_step", strength=1e-2))
    numbers_refused = []
    while True:
        with search.trial(60, late=False) as trial:
            if not trial:
                break
            if search.point(trial).strength > 1e-2:  # two fifths of the range, on its logarithmic scale
                search.refuse(trial, "diverged")
                numbers_refused.append(trial.number)
            else:
                search.record(trial, lost(11 if trial.number > 2 else 1), stopped=False)
            search.end(trial.number)
    assert search.count() == 60
    assert len(search.refused()) == len(numbers_refused)
    assert not set(numbers_refused) & set(search.trials()["number"])
    assert sum(number >= 30 for number in numbers_refused) < 12


def test_a_refused_trial_of_a_process_that_was_killed_behind_its_run_counts(store, request):
    search = TuningSearch(store, request.node.name, space())
    made(search, 3)
    with search.trial(4, late=False) as trial:
        search.refuse(trial, "diverged")
        described, tags = search.describe(trial), {"config_hash": search.trial_hash(trial.number)}
        store.client.set_terminated(store.client.create_run(store.experiment_id, tags=tags).info.run_id)
    assert made(TuningSearch(store, request.node.name, space()), 4) == []
    assert search.refused() == [described]
    assert described.endswith("ratio 10")


def test_when_it_is_late_only_anchors_begin(store, request):
    search = TuningSearch(store, request.node.name, space())
    for _ in range(3):
        with search.trial(9, late=True) as trial:
            search.record(trial, lost(1), stopped=False)
            search.end(trial.number)
    with search.trial(9, late=True) as none:
        assert none is None


def test_a_trial_that_raises_does_not_count(store, request):
    search = TuningSearch(store, request.node.name, space())
    with pytest.raises(StudyError), search.trial(3, late=False):
        raise StudyError("diverged")
    made(search, 3)
    assert search.trials()["anchor"].tolist() == ["MP", "GP", "lambda"]


def test_the_trial_of_a_killed_process_is_made_again(store, request, store_uri):
    code = (
        "import time\nfrom pruning_study.tracking.connect import connect\n"
        "from pruning_study.study.tuning.search import TuningSearch, Space\n"
        f"search = TuningSearch(connect(), {request.node.name!r}, Space('accuracy', (10.0,), (1e-8, 1e2), 5e-4))\n"
        "with search.trial(3, late=False):\n    print('taken', flush=True)\n    time.sleep(600)\n"
    )
    process = WarmProcess(run_code, code)
    process.wait_for_output("taken\n")
    search = TuningSearch(store, request.node.name, space())
    assert search.running()
    process.kill()
    process.wait()
    wait_until(lambda: not search.running())
    made(search, 3)
    assert search.trials()[["number", "anchor"]].to_numpy().tolist() == [[1, "MP"], [2, "GP"], [3, "lambda"]]


def test_the_trial_of_a_process_that_was_killed_behind_its_run_counts(store, request):
    search = TuningSearch(store, request.node.name, space())
    for stopped in (False, True):
        with search.trial(4, late=False) as trial:
            search.record(trial, lost(2), stopped=stopped)
            tags = {"config_hash": search.trial_hash(trial.number)}
            store.client.set_terminated(store.client.create_run(store.experiment_id, tags=tags).info.run_id)
    made(TuningSearch(store, request.node.name, space()), 4)
    trials = search.trials()
    assert trials["number"].tolist() == [0, 1, 2, 3]
    assert trials["complete"].tolist() == [True, False, True, True]
    assert trials["accuracy/0"].tolist() == pytest.approx(DENSE[0] - np.array([0.02, 0.02, 0.01, 0.01]))


class TestHopeless:
    def judge(self, search, points):
        """Go through the seeds of a trial until it is stopped; whether it was, and after how many."""
        with search.trial(99, late=False) as trial:
            stopped, seeds = False, 0
            while seeds < len(DENSE) and not stopped:
                seeds += 1
                stopped = search.is_hopeless(trial, lost(points, seeds), DENSE)
            search.record(trial, lost(points, seeds), stopped=stopped)
            search.end(trial.number)
        return stopped, seeds

    def test_below_the_median_of_the_whole_trials_after_the_first_seed(self, store, request):
        search = TuningSearch(store, request.node.name, space())
        assert [self.judge(search, points) for points in (1, 2, 3, 4, 5)] == [(False, 3)] * 5
        assert self.judge(search, 3.1) == (True, 1)
        assert self.judge(search, 2.9) == (False, 3)
        trials = search.trials()
        assert trials["complete"].tolist() == [True] * 5 + [False, True]
        assert trials["accuracy"].iloc[-2] == pytest.approx(0.8 - 0.031), "as if the other two had lost as much"
        assert trials["accuracy/0"].iloc[-2] == pytest.approx(0.9 - 0.031)

    def test_never_an_anchor(self, store, request):
        search = TuningSearch(store, request.node.name, space(ratios=(5.0, 10.0)))
        assert [self.judge(search, points) for points in (1, 1, 1, 1, 1, 90)] == [(False, 3)] * 6

    def test_never_with_the_objective_alpha(self, store, request):
        search = TuningSearch(store, request.node.name, space("alpha"))
        assert [self.judge(search, points) for points in (1, 1, 1, 1, 1, 90)] == [(False, 3)] * 6


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"objective": "alpha"}, "objective accuracy there, alpha here"),
        ({"epsilon_range": (1e-6, 1.0)}, "epsilon_range 1e-08,100.0 there, 1e-06,1.0 here"),
        ({"settings": {"dataset_digest": "ab"}}, "dataset_digest none there, ab here"),
        ({"longest_ramp": 0.8, "ramp": 0.5}, "ramp_range none there, 0.0,0.8 here"),
    ],
)
def test_a_search_of_another_space_is_told_apart(store, request, other, told):
    TuningSearch(store, request.node.name, space())
    with refused("study_name", told):
        TuningSearch(store, request.node.name, space(**other))


def test_a_damaged_journal_is_named(store, request):
    journal = TuningSearch(store, request.node.name, space()).journal
    sound = journal.read_bytes()
    try:
        journal.write_bytes(b"not json\n" + sound)
        with pytest.raises(StudyError, match="Optuna"):
            TuningSearch(store, request.node.name, space())
    finally:
        journal.write_bytes(sound)


@pytest.mark.attack
def test_a_line_that_a_full_disk_cut_off_in_the_journal_of_searches__is_dropped_and_the_search_goes_on(store, request):
    journal = TuningSearch(store, request.node.name, space()).journal
    sound = journal.read_bytes()
    journal.write_bytes(sound + sound.splitlines()[-1][:-5])
    TuningSearch(store, f"{request.node.name} again", space())
    assert journal.read_bytes().startswith(sound + b'{"')
    TuningSearch(store, request.node.name, space())


def test_the_journal_lies_beside_the_store(store, store_uri):
    assert store.journal.name == "mlflow.db.optuna"
    assert str(store.journal.parent) in store_uri
