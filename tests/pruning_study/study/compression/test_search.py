"""Chains as plain data, and the search of them, whose trials several processes share."""

from contextlib import ExitStack

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from analysis.statistics.limits import Limits
from analysis.statistics.pareto import choose, on_front
from pruning_study.options.config import FIRST_CHAINS
from pruning_study.study.compression.chains import Chain, ChainSpace
from pruning_study.study.compression.judgement import Judgement
from pruning_study.study.compression.search import ChainSearch
from pruning_study.tracking import connect
from tests.deadline import wait_until
from tests.error_lines import refused
from tests.warm_processes import WarmProcess, run_code

SPACE = ChainSpace("size", (7, 15), half_ratio=1.97, most_filters=4.24, most_weights=50.0, gradual=True, offsets=True)
FORMATS_ALONE = ChainSpace("size", (15,))
AS_IT_IS, INTEGERS = Chain(), Chain(number_format="fixed-int8")
HALVED = Chain("l1-filter", 1.97, fine_tune_epochs=15)
BOTH = Chain("l1-filter", 1.97, fine_tune_epochs=15, number_format="fixed-int8")
# Bytes, and the most that the worst class and the accuracy may lose
FOUR = {
    AS_IT_IS: (1000, 0.005, 0.001),
    INTEGERS: (300, 0.02, 0.004),
    HALVED: (500, 0.05, 0.006),
    BOTH: (150, 0.08, 0.009),
}


@pytest.fixture
def store(store_uri):
    return connect.connect()


def judged(size, class_upper=0.01, accuracy_upper=0.001):
    return Judgement(float(size), size, size, 0.9, 0.0, accuracy_upper, "bag", 0.0, class_upper, "run")


def made(search, total, what=lambda chain: judged(100)):
    """Make the trials that are missing; their chains."""
    chains = []
    while True:
        with search.trial(total, late=False) as trial:
            if not trial:
                return chains
            chains.append(search.chain(trial))
            search.record(trial, what(chains[-1]))
            search.end(trial.number)


class TestChains:
    def test_a_chain_has_the_options_of_prune_and_a_name(self):
        assert BOTH.options == {
            "pruner": "l1-filter",
            "ratio": (1.97,),
            "schedule": "one-shot",
            "fine_tune_epochs": 15,
            "class_offsets": "none",
        }
        assert str(BOTH) == "filters pruned by l1-filter at ratio 1.97, 15 epochs, fixed-int8"
        assert str(INTEGERS) == "not pruned, fixed-int8"
        gradual = Chain("mp", 10.0, "cubic", 7, "dense")
        assert str(gradual) == "weights pruned by mp at ratio 10, cubic, 7 epochs, class offsets, float32"

    def test_a_network_without_channels_has_number_formats_alone(self):
        space = ChainSpace("size", (15,))
        assert space.pruners == ("none",)
        assert list(map(space.chain, space.first.values())) == [AS_IT_IS, INTEGERS]

    def test_other_spaces_have_other_digests(self):
        plain, told = ChainSpace("size", (7, 15)), ChainSpace("size", (7, 15), settings={"a": "b"})
        spaces = [SPACE, plain, told, ChainSpace("macs", (7, 15)), ChainSpace("size", (15,))]
        assert len({space.digest for space in spaces}) == 5


def test_a_space_of_four_chains_ends_with_the_choice_that_is_known_by_hand(store, request):
    """Integers are the cheapest that keeps to both limits; accuracy alone would choose both."""
    search = ChainSearch(store, request.node.name, SPACE)
    chains = made(search, FIRST_CHAINS, lambda chain: judged(*FOUR[chain]))
    assert chains == [AS_IT_IS, INTEGERS, HALVED, BOTH]
    trials = search.trials()
    assert choose(trials, Limits(0.03, 0.01)) == (1, 1, 3)
    assert on_front(trials).tolist() == [True, True, False, True]
    assert trials["first"].tolist() == ["the network as it is", "int8 alone", "half the channels", "both"]


def test_further_chains_are_in_the_space_and_the_same_for_the_same_search(store, request):
    chains = made(ChainSearch(store, request.node.name, SPACE), 24)[FIRST_CHAINS:]
    assert len(chains) == 20
    for chain in chains:
        assert chain.pruner in SPACE.pruners
        low, high = {"none": (1, 1), "mp": (2, 50)}.get(chain.pruner, (1.1, 4.24))
        assert low <= chain.ratio <= high
        assert chain.fine_tune_epochs in ((7, 15) if chain.prunes else (0,))
        assert chain.schedule == "one-shot" or chain.pruner == "mp"
    assert {chain.pruner for chain in chains} == set(SPACE.pruners)
    assert made(ChainSearch(store, f"{request.node.name} again", SPACE), 24)[FIRST_CHAINS:] == chains


def test_a_space_of_four_chains_is_searched_once_and_ends(store, request):
    search = ChainSearch(store, request.node.name, FORMATS_ALONE)
    assert made(search, 3)[:2] == [AS_IT_IS, INTEGERS]
    assert not search.is_exhausted()
    again = ChainSearch(store, request.node.name, FORMATS_ALONE)
    assert len(made(again, 40)) == 1
    assert again.is_exhausted()
    tried = again.trials()
    assert sorted(tried["number_format"]) == ["dynamic-int8", "fixed-int8", "float16", "float32"]
    assert made(again, 40) == []


def test_a_chain_that_another_process_is_making_is_not_proposed(store, request):
    searches = [ChainSearch(store, request.node.name, FORMATS_ALONE) for _ in range(5)]
    with ExitStack() as making:
        trials = [making.enter_context(search.trial(40, late=False)) for search in searches]
        chains = [search.chain(trial) for search, trial in zip(searches[:4], trials[:4], strict=True)]
    assert len(set(chains)) == 4
    assert trials[4] is None


def test_a_trial_that_has_begun_and_not_taken_its_chain_counts_with_it(store, request):
    """As that of a process that was killed in between: its chain is tried later, once."""
    search = ChainSearch(store, request.node.name, SPACE)
    search.enqueue_anchors()
    begun = search.optuna_study.ask()
    assert begun.params == {}
    assert search.tried_chains() == {AS_IT_IS}
    assert not search.is_exhausted()
    assert made(search, 8).count(AS_IT_IS) == 1
    assert search.optuna_study.get_trials()[begun.number].state.name == "FAIL"


def test_no_chain_is_proposed_twice_where_the_best_ones_are_not_pruned(store, request):
    """Optuna's own draws come back to the few chains that are not pruned: 60 trials had only 26 chains."""
    search = ChainSearch(store, request.node.name, SPACE)
    chains = made(search, 60, lambda chain: judged(100 if chain.pruner == "none" else 1000))
    assert len(set(chains)) == 60


def test_every_chain_of_a_space_is_told():
    few = ChainSpace("size", (7, 15), half_ratio=1.1, most_filters=1.12)
    # Four formats; two pruners of filters with three ratios, two numbers of epochs and four formats.
    chains = list(map(few.chain, few.every()))
    assert len(chains) == len(set(chains)) == 4 + 2 * 3 * 2 * 4
    assert {chain.ratio for chain in chains} == {1.0, 1.1, 1.11, 1.12}


def test_a_chain_that_cannot_be_made_counts_and_says_why(store, request):
    search = ChainSearch(store, request.node.name, SPACE)
    with search.trial(4, late=False) as trial:
        search.refuse(trial, "diverged")
        search.end(trial.number)
    assert len(made(search, 4)) == 3
    assert search.refused() == {AS_IT_IS: "diverged"}
    assert (len(search.trials()), search.count()) == (3, 4)


def test_optuna_names_the_numbers_that_a_chain_ends_with(store, request):
    search = ChainSearch(store, request.node.name, SPACE)
    made(search, 1, lambda chain: judged(300, 0.02))
    study = optuna.load_study(
        study_name=request.node.name, storage=JournalStorage(JournalFileBackend(str(search.journal)))
    )
    assert study.metric_names == ["cost", "class_loss_upper"]
    assert study.trials[0].values == [300.0, 0.02]


def test_another_space_of_the_same_name_is_one_line(store, request):
    ChainSearch(store, request.node.name, SPACE)
    with refused("study_name", r"minimize size there, macs here"):
        ChainSearch(store, request.node.name, ChainSpace("macs", (7, 15)))


@pytest.mark.slow
def test_a_chain_that_was_killed_in_the_middle_is_made_again_by_the_next_process(store, request, store_uri):
    """The fifth chain is chosen by the sampler: a new draw would be another one, whose training starts anew."""
    search = ChainSearch(store, request.node.name, SPACE)
    made(search, 4)
    code = (
        "import time\nfrom pruning_study.tracking.connect import connect\n"
        "from pruning_study.study.compression.chains import ChainSpace\n"
        "from pruning_study.study.compression.search import ChainSearch\n"
        f"search = ChainSearch(connect(), {request.node.name!r}, {SPACE!r})\n"
        "with search.trial(6, late=False) as trial:\n"
        "    print(search.chain(trial), flush=True)\n    time.sleep(600)\n"
    )
    process = WarmProcess(run_code, code)
    wait_until(lambda: process.output.read_text().endswith("\n"), process)
    killed = process.output.read_text().strip()
    assert search.running()
    process.kill()
    process.wait()
    wait_until(lambda: not search.running())
    assert str(made(search, 6)[0]) == killed
    assert search.trials()["number"].tolist() == [0, 1, 2, 3, 5, 6]


def test_an_interrupted_chain_is_the_next_one_again_and_those_after_it_are_those_of_an_undisturbed_search(
    store, request
):
    search = ChainSearch(store, request.node.name, SPACE)
    made(search, 4)
    with pytest.raises(KeyboardInterrupt), search.trial(5, late=False) as trial:
        interrupted = search.chain(trial)
        raise KeyboardInterrupt
    assert made(search, 5) == [interrupted]
    undisturbed = ChainSearch(store, f"{request.node.name} undisturbed", SPACE)
    assert made(search, 8) == made(undisturbed, 8)[5:]


def test_a_chain_whose_process_was_killed_behind_its_run_is_not_made_again(store, request):
    search = ChainSearch(store, request.node.name, SPACE)
    with search.trial(4, late=False) as trial:
        search.record(trial, judged(123))
        tags = {"config_hash": search.trial_hash(trial.number)}
        store.client.set_terminated(store.client.create_run(store.experiment_id, tags=tags).info.run_id)
    assert made(search, 4) == [INTEGERS, HALVED, BOTH]
    assert search.trials()["model_bytes"].tolist() == [123, 100, 100, 100]
