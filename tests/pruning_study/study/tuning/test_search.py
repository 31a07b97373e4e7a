import numpy as np
import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from analysis.common.errors import StudyError
from pruning_study.options.config import ANCHORS
from pruning_study.study.tuning.objectives import PairedRecalls
from pruning_study.study.tuning.search import AS_MAGNITUDE, Space, TuningSearch
from pruning_study.tracking import connect
from tests.deadline import wait_until
from tests.error_lines import refused
from tests.warm_processes import WarmProcess, run_code

DENSE = np.array([0.9, 0.8, 0.7])


@pytest.fixture
def store(store_uri):
    return connect.connect()


def space(objective="accuracy", **changed):
    return Space(**{"objective": objective, "ratios": (10.0,), "usual_epsilon": 5e-4} | changed)


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

    def test_the_number_of_options_that_are_searched(self):
        assert space().dimensions == 1
        assert space(ratios=(5.0, 10.0)).dimensions == 2

    def test_params(self):
        plain = {"objective": "accuracy", "ratios": "10.0", "epsilon_range": "1e-08,100.0", "lambda": "0.0005"}
        assert space().params == plain
        assert space(settings={"seeds": "0,1"}).params == {**plain, "seeds": "0,1"}


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
        f"search = TuningSearch(connect(), {request.node.name!r}, Space('accuracy', (10.0,), 5e-4))\n"
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
        ({"settings": {"dataset_digest": "ab"}}, "dataset_digest none there, ab here"),
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
