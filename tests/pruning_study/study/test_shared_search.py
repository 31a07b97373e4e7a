"""The driver of `tune` and `compress`: the trials that are missing, their runs, and searches made before."""

import re
import time

import numpy as np
import pytest
from mlflow.entities import Dataset

from analysis.common.errors import StudyError
from pruning_study.study import shared_search
from pruning_study.study.compression.chains import ChainSpace
from pruning_study.study.compression.judgement import Judgement
from pruning_study.study.compression.search import ChainSearch
from pruning_study.study.tuning.objectives import PairedRecalls
from pruning_study.study.tuning.search import Space, TuningSearch
from pruning_study.tracking import connect
from pruning_study.training.evaluation import Predictions
from tests.deadline import wait_until
from tests.error_lines import refused
from tests.stored_runs import empty_store, runs
from tests.warm_processes import WarmProcess, run_code

EPSILON = Space("accuracy", (10.0,), 5e-4)
CHAINS = ChainSpace("size", (7, 15), half_ratio=1.97, most_filters=4.24)
BEFORE = np.array([[0.95, 0.85], [0.85, 0.75], [0.75, 0.65]])
RECALLS = PairedRecalls(BEFORE, BEFORE - 0.01, BEFORE * (BEFORE - 0.01), np.array([100, 100]))
JUDGEMENT = Judgement(100.0, 100, 100, 0.9, 0.0, 0.001, "bag", 0.0, 0.01, "run")
DATASET = Dataset("tiny", "0" * 32, "local", "{}")


@pytest.fixture
def store(store_uri):
    return connect.connect()


@pytest.fixture
def own_store(tmp_path, monkeypatch):
    """A store without runs, which no other test uses."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", empty_store(tmp_path / "mlflow.db"))
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "Default")
    monkeypatch.chdir(tmp_path)
    return connect.connect()


def make_trials(store, search, total, attempt, **options):
    """Make the trials that are missing, as a job does."""
    with store.job("a search", {}) as job, search.run(DATASET, job.run_id) as parent:
        search.make_trials(total, attempt, DATASET, parent.run_id, **options)


def epsilons(store, search, total, **options):
    """Make trials that lose a point, and return their epsilons."""
    tried = []

    def attempt(trial, _):
        search.record(trial, RECALLS, stopped=False)
        tried.append(search.point(trial).epsilon)
        return f"epsilon {tried[-1]:g}"

    make_trials(store, search, total, attempt, **options)
    return tried


def chains(store, search, total, **options):
    """Make chains that lose nothing, and return them in words."""
    tried = []

    def attempt(trial, _):
        search.record(trial, JUDGEMENT)
        tried.append(str(search.chain(trial)))
        return tried[-1]

    make_trials(store, search, total, attempt, **options)
    return tried


def test_each_trial_that_is_missing_is_made_and_said(store, request, capsys):
    search = TuningSearch(store, request.node.name, EPSILON)
    assert epsilons(store, search, 2) == [5e-4, 1e8, 0.0], "anchors are made whatever the total"
    assert len(epsilons(store, search, 5)) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line[:5] for line in lines] == ["[1/2]", "[2/2]", "[3/2]", "[4/5]", "[5/5]"]
    assert re.fullmatch(r"\[4/5\] epsilon [\d.e-]+", lines[3])
    assert "left" not in lines[4]


def test_past_its_deadline_tune_makes_its_anchors_alone_and_compress_nothing(store, request):
    now, (epsilon, chain) = time.monotonic(), (f"{request.node.name} {what}" for what in ("epsilon", "chains"))
    assert epsilons(store, TuningSearch(store, epsilon, EPSILON), 9, deadline=now) == [5e-4, 1e8, 0.0]
    assert chains(store, ChainSearch(store, chain, CHAINS), 9, deadline=now) == []


def test_the_trials_of_other_processes_are_waited_for(store, request, monkeypatch):
    search, other = (TuningSearch(store, request.node.name, EPSILON) for _ in range(2))
    epsilons(store, search, 3)
    with search.trial(4, late=False) as trial:

        def end(_):
            search.record(trial, RECALLS, stopped=False)
            search.end(trial.number)

        monkeypatch.setattr(shared_search.time, "sleep", end)
        assert epsilons(store, other, 4) == []
    assert search.count() == 4


@pytest.mark.parametrize(("search_of", "space"), [(TuningSearch, EPSILON), (ChainSearch, CHAINS)])
def test_a_search_has_trials_of_the_same_networks_alone(store, request, search_of, space):
    """Networks that predict alike are the same, because a dense run that was deleted is made again under a new id."""

    def network(*predicted):
        predicted = np.array(predicted)
        return Predictions(np.array([0, 1]), predicted, predicted[:, None], np.ones(2, np.float32))

    search_of(store, request.node.name, space).check_networks([network(0, 1), network(1, 1)])
    again = search_of(store, request.node.name, space)
    again.check_networks([network(0, 1), network(1, 1)])
    for others in ([network(0, 1), network(1, 0)], [network(1, 1), network(0, 1)], [network(0, 1)]):
        with refused("study_name", "other dense networks"):
            again.check_networks(others)


class TestRuns:
    """Each trial is a run below the run of its search, for `tune` and `compress` alike."""

    @pytest.mark.parametrize(
        ("search_of", "space", "make", "anchors", "params"),
        [
            (
                TuningSearch,
                EPSILON,
                epsilons,
                ["lambda", "MP", "GP", ""],
                {"epsilon": "0.0005", "ratio": "10.0"},
            ),
            (
                ChainSearch,
                CHAINS,
                chains,
                ["the network as it is", "int8 alone", "half the channels", "both"],
                {
                    **{"pruner": "none", "ratio": "1.0", "schedule": "one-shot", "fine_tune_epochs": "0"},
                    **{"class_offsets": "none", "number_format": "float32"},
                },
            ),
        ],
    )
    def test_a_search_is_one_run_and_its_trials_are_runs_below_it(
        self, own_store, search_of, space, make, anchors, params
    ):
        make(own_store, search_of(own_store, "mine", space), 4)
        trials = runs("trial")
        assert [run.data.tags["anchor"] for run in trials] == anchors
        assert trials[0].data.params == params
        assert make(own_store, search_of(own_store, "mine", space), 4) == []
        assert [run.info.run_id for run in runs("trial")] == [run.info.run_id for run in trials]
        make(own_store, search_of(own_store, "mine", space), 5)
        ((search,), (first_job, *_), trials) = (runs(kind) for kind in ("tuning", "job", "trial"))
        assert len(trials) == 5
        assert {run.data.tags["mlflow.parentRunId"] for run in trials} == {search.info.run_id}
        assert search.data.tags["mlflow.parentRunId"] == first_job.info.run_id
        assert search.data.params == space.params
        assert [run.data.tags["config_hash"] for run in trials] == [
            f"{search.data.tags['config_hash'][:32]}-{number}" for number in range(5)
        ]
        assert {(run.data.tags["study"], run.data.tags["state"]) for run in trials} == {("mine", "complete")}

    def test_optuna_names_the_run_of_a_trial(self, own_store):
        search = ChainSearch(own_store, "mine", CHAINS)
        named = []

        def attempt(trial, run):
            named.append((trial.user_attrs["mlflow_run_id"], run.run_id))
            search.record(trial, JUDGEMENT)
            return ""

        make_trials(own_store, search, 2, attempt)
        assert [run_id for run_id, _ in named] == [run_id for _, run_id in named]

    def test_a_chain_that_cannot_be_made_is_a_run_too(self, own_store):
        search = ChainSearch(own_store, "mine", CHAINS)

        def attempt(trial, _):
            search.refuse(trial, "diverged")
            return "diverged"

        make_trials(own_store, search, 4, attempt)
        assert [run.data.tags["state"] for run in runs("trial")] == 4 * ["pruned"]

    def test_an_interrupted_trial_is_killed_and_the_next_call_makes_it_again(self, own_store):
        search = ChainSearch(own_store, "mine", CHAINS)

        def interrupt(trial, _):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            make_trials(own_store, search, 4, interrupt)
        (killed,) = runs("trial", status=None)
        assert (killed.info.status, killed.data.tags["anchor"]) == ("KILLED", "the network as it is")
        chains(own_store, ChainSearch(own_store, "mine", CHAINS), 4)
        made = runs("trial")
        assert sorted(run.data.tags["anchor"] for run in made) == sorted(CHAINS.first)
        assert len(runs("trial", status=None)) == 5
        (search_run,) = runs("tuning", status=None)
        assert search_run.info.status == "FINISHED"
        assert "error" not in search_run.data.tags

    @pytest.mark.parametrize("judged", [False, True])
    def test_a_trial_whose_process_was_killed_before_its_run_ended_is_made_again(self, own_store, judged):
        code = (
            "import time\nfrom mlflow.entities import Dataset\n"
            "from pruning_study.tracking.connect import connect\n"
            "from pruning_study.study.compression.chains import ChainSpace\n"
            "from pruning_study.study.compression.judgement import Judgement\n"
            "from pruning_study.study.compression.search import ChainSearch\n"
            f"store = connect()\nsearch = ChainSearch(store, 'mine', {CHAINS!r})\n"
            "data = Dataset('tiny', '0' * 32, 'local', '{}')\n"
            "def attempt(trial, run):\n"
            f"    if {judged}:\n        search.record(trial, {JUDGEMENT!r})\n"
            "    print('taken', flush=True)\n    time.sleep(600)\n"
            "with store.job('a search', {}) as job, search.run(data, job.run_id) as parent:\n"
            "    search.make_trials(4, attempt, data, parent.run_id)\n"
        )
        process = WarmProcess(run_code, code)
        process.wait_for_output("taken\n")
        process.kill()
        process.wait()
        search = ChainSearch(own_store, "mine", CHAINS)
        wait_until(lambda: not search.running())
        assert chains(own_store, search, 4)[-1] == "not pruned, float32"
        killed, *made = runs("trial", status=None)
        assert (killed.info.status, killed.data.tags["anchor"]) == ("KILLED", "the network as it is")
        assert [run.info.status for run in made] == 4 * ["FINISHED"]
        assert sorted(run.data.tags["anchor"] for run in made) == sorted(CHAINS.first)
        assert [run.info.status for run in runs("tuning", status=None)] == ["FINISHED"]


def test_a_journal_that_is_deleted_while_the_search_runs_is_said_to_be(own_store):
    """The error was `No such file or directory`."""
    search = TuningSearch(own_store, "epsilon", EPSILON)
    with pytest.raises(StudyError, match=r"journal was deleted during the search: repeat the command, "):

        def delete(trial, run):
            own_store.journal.unlink()
            search.record(trial, RECALLS, stopped=False)

        make_trials(own_store, search, 1, delete)
    assert len(epsilons(own_store, TuningSearch(own_store, "epsilon", EPSILON), 4)) == 4
