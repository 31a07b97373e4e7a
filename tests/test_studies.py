"""Tests that the studies of this project hold the cells of the tables in Good et al. 2022."""

from collections import Counter
from functools import cache
from itertools import product
from pathlib import Path

import pytest

from analysis.report import published
from analysis.runs import exports, primaries, tunings
from pruning_study.study import grid
from pruning_study.training.recipe_values import RECIPES

RESULTS = Path(__file__).parent.parent / "results"
NAMES = ["model-complexity", "dataset-complexity", "pruning-algorithm", "tradeoff"]
RATIOS = {2, 4, 10, 20, 50}
CONTROL = "none"


@cache
def read(name):
    """Return a study whose options fit together."""
    found = grid.read(grid.located(RESULTS / name if (RESULTS / name).is_dir() else Path(name)))
    found.check()
    return found


@cache
def cells(name):
    """Return the cells (data set, model, pruner, ratio) of a study for each seed, named as in print."""
    by_seed = {}
    for config in (cell.config for cell in read(name).cells):
        names = (published.label(value) for value in (config.dataset, config.model, config.pruner))
        by_seed.setdefault(config.seed, set()).add((*names, *config.ratio))
    return by_seed


def pruned(name):
    """Return the cells of a study without its control."""
    return {cell for cell in cells(name)[0] if cell[2] != CONTROL}


def columns(table):
    """Return the columns of a printed table without the first one."""
    return set(published.table(table).columns[1:])


@pytest.mark.parametrize("name", NAMES)
def test_thirty_models_of_each_cell_and_the_control_of_each_model(name):
    by_seed = cells(name)
    assert sorted(by_seed) == list(range(30))
    assert all(made == by_seed[0] for made in by_seed.values())
    models = {cell[:2] for cell in pruned(name)}
    assert {cell for cell in by_seed[0] if cell[2] == CONTROL} == {(*model, CONTROL, 1.0) for model in models}


def test_studies_have_the_ratios_of_the_tables():
    in_print = {int(ratio) for row in published.table(1)["Ratios"] for ratio in row.split(" vs ")}
    assert in_print == RATIOS
    for name in NAMES[:3]:
        assert {cell[3] for cell in pruned(name)} == RATIOS


def test_model_complexity_has_the_cells_of_tables_1_2_5_6_and_9():
    assert columns(1) == columns(2) == columns(9)
    assert pruned("model-complexity") == {
        ("CIFAR-10", model, pruner, ratio) for model in columns(1) for pruner in ("MP", "UP") for ratio in RATIOS
    }
    sizes = {f"ResNet-{size}" for row in published.table(5)["ResNet Sizes"] for size in row.split(" vs ")}
    assert sizes == columns(1)


def test_dataset_complexity_has_the_cells_of_tables_3_and_7():
    models = {"MNIST": "LeNet", "Fashion": "LeNet", "CIFAR-10": "ResNet-56", "CIFAR-100": "ResNet-56"}
    assert columns(3) == set(models)
    assert {dataset for row in published.table(7)["Datasets"] for dataset in row.split(" vs ")} == set(models)
    assert pruned("dataset-complexity") == {
        (dataset, model, "MP", ratio) for dataset, model in models.items() for ratio in RATIOS
    }


def test_pruning_algorithm_has_the_cells_of_tables_4_and_8():
    assert {pruner for row in published.table(8)["Methods"] for pruner in row.split(" vs ")} == columns(4)
    assert pruned("pruning-algorithm") == {
        ("CIFAR-10", "ResNet-56", pruner, ratio) for pruner in columns(4) for ratio in RATIOS
    }


def test_tradeoff_has_the_ratios_of_figure_13():
    assert {cell[0] for cell in pruned("tradeoff")} == {"CIFAR-10"}
    assert {cell[3] for cell in pruned("tradeoff")} == {2, 4, 6, 8, 10}


def test_all_studies_together_hold_every_cell_of_tables_10_and_11_but_one():
    made = {cell[:3] for name in NAMES for cell in pruned(name)}
    table_10 = set(published.table(10)[["Dataset", "Model", "Pruning Algorithm"]].itertuples(index=False, name=None))
    # No test and no figure of the paper uses this cell.
    assert table_10 - made == {("CIFAR-100", "ResNet-56", "UP")}
    table_11 = published.table(11)["Model"].str.extract("(.*) @ (.*) -> (.*)")
    assert set(table_11.itertuples(index=False, name=None)) <= made


@pytest.mark.parametrize("name", ["lenet5", "lenet5-released", "resnet20-short", "resnet20-short-gradual", "gradual"])
def test_studies_of_the_results_hold_the_control_beside_every_model(name):
    by_seed = cells(name)
    models = {cell[:2] for cell in pruned(name)}
    assert {cell for cell in by_seed[0] if cell[2] == CONTROL} == {(*model, CONTROL, 1.0) for model in models}
    assert all(made == by_seed[0] for made in by_seed.values())


def test_lenet5_has_the_ratios_of_the_tables_and_of_figure_13_on_three_data_sets():
    assert pruned("lenet5") == {
        (dataset, "LeNet", pruner, ratio)
        for dataset in ("MNIST", "Fashion", "cifar10_jpeg")
        for pruner in ("MP", "UP", "GP", "RP")
        for ratio in (*RATIOS, 6, 8)
    }


def test_the_confirmation_of_epsilon_has_the_winners_and_the_papers_on_new_networks():
    found = read("lenet5-up-confirmation")
    asked = {}
    for config in (cell.config for cell in found.cells):
        asked.setdefault((config.dataset, config.epsilon), []).append(config.seed)
    assert {(cell.config.pruner, *cell.config.ratio) for cell in found.cells} == {("up", 10.0)}
    assert all(sorted(seeds) == list(range(30, 60)) for seeds in asked.values())
    searches = tunings.of_artifacts(exports.read_artifacts([RESULTS / "lenet5-up" / "frames.zip"]))
    for dataset in ("fashion-mnist", "mnist"):
        (search,) = (each for each in searches if each.name.startswith(f"{dataset}-"))
        assert {epsilon for name, epsilon in asked if name == dataset} == {None, search.winner["epsilon"]}


def test_the_quick_study_needs_no_data_and_has_three_methods_with_a_control_at_a_falling_rate():
    found = read("quick")
    configs = [cell.config for cell in found.cells]
    assert {config.dataset for config in configs} == {"fashion-mnist-mini"}
    assert {config.decay for config in configs} == {"cosine"}
    pruned = product(("mp", "up", "mp cubic"), (2, 5, 10, 20), range(5))
    assert {(config.method, *config.ratio, config.seed) for config in configs} == {
        *pruned,
        *product([CONTROL], [1], range(5)),
    }


@pytest.mark.parametrize(
    ("study", "name"),
    [(name, name) for name in ("lenet5", "lenet5-up", "lenet5-up-confirmation", "gradual")]
    + [("gradual", "gradual-confirmation")],
)
def test_the_frames_of_the_results_have_the_primary_comparisons_of_their_study(study, name):
    planned = [primary.as_given for primary in read(study).primaries]
    exported = exports.below(RESULTS / name)
    assert planned
    found = [primaries.of_artifacts(exports.read_artifacts([each])) for each in exported]
    assert found == [planned] * len(exported)


def test_lottery_tickets_have_the_levels_of_table_12_and_a_control_at_a_falling_rate():
    found = read("lottery-tickets")
    configs = [cell.config for cell in found.cells]
    chains = {(each.dataset, each.pruner, each.weight_treatment, each.seed) for each in configs}
    assert chains == set(product(["fashion-mnist", "mnist"], ["mp", "up", CONTROL], ["rewind"], range(10)))
    assert len(chains) == len(configs)
    settings = {(each.recipe, each.decay, each.keep, each.rewind_step) for each in configs}
    assert settings == {("lenet5", "cosine", 0.8, 0)}
    assert {each.iterations - 1 for each in configs} == {int(published.table(12)["Level"].iloc[-1])}


def test_regularizers_have_ten_networks_of_each_training_and_their_control():
    configs = [cell.config for cell in read("regularizers").cells]
    trainings = {("l2", 0.0005), ("l2", 0.005), ("l1", 0.0001), ("decoupled", 0.05)}
    methods = {*product(["mp", "up"], [4.0, 10.0, 20.0]), (CONTROL, 1.0)}
    runs = {(each.regularizer, each.weight_decay, each.seed, each.pruner, *each.ratio) for each in configs}
    assert len(runs) == len(configs) == 280
    assert runs == {(*training, seed, *method) for training in trainings for seed in range(10) for method in methods}


def test_training_choices_are_a_factorial_in_which_each_class_is_rare_in_three_seeds_of_ten():
    configs = [cell.config for cell in read("training-choices").cells]
    rates = [("sgd", 0.01), ("sgd", 0.03), ("adam", 0.001), ("adam", 0.003)]
    networks = {(each.optimizer, each.learning_rate, each.batch_size, each.seed) for each in configs}
    assert networks == {(*rate, *more) for rate, more in product(rates, product([32, 128], range(10)))}
    chains = {(each, each.pruner) for each in configs}
    assert len(chains) == len(configs) == 160
    rare = {each.seed: frozenset(each.class_fractions) for each in configs}
    assert all(each.class_fractions and frozenset(each.class_fractions) == rare[each.seed] for each in configs)
    counts = Counter(name for names in rare.values() for name in names)
    assert (len(counts), set(counts.values())) == (10, {3})
    assert {(each.epochs, each.iterations, each.keep, each.recipe) for each in configs} == {(7, 4, 0.3, "lenet5")}


def test_decay_pruners_has_magnitude_and_undecayed_pruning_at_five_ratios_and_mitigations_at_20():
    configs = [cell.config for cell in read("decay-pruners").cells]
    networks = {
        (each.dataset, each.pruner, *each.ratio, each.schedule, each.class_offsets, each.distill, each.seed)
        for each in configs
    }
    datasets, seeds = ("fashion-mnist", "mnist", "cifar10_jpeg"), range(140, 160)
    plain = [(pruner, ratio, "one-shot", "none", 0) for pruner, ratio in product(("mp", "up"), (2, 4, 10, 20, 50))]
    gradual = [("mp", 20, "cubic", *spared) for spared in (("none", 0), ("dense", 0), ("none", 0.5))]
    controls = [(CONTROL, 1, "one-shot", *spared) for spared in (("none", 0), ("dense", 0), ("none", 0.5))]
    further = [("mp", ratio, "cubic", "none", 0) for ratio in (4, 10, 50)]
    kinds = [*plain, *gradual, *further, *controls]
    assert networks == {(dataset, *kind, seed) for dataset, kind, seed in product(datasets, kinds, seeds)}
    assert len(configs) == 3 * 19 * 20
    assert {each.decay for each in configs} == {"cosine"}


def test_decay_resnet20_differs_in_how_the_learning_rate_falls_alone():
    configs = [cell.config for cell in read("decay-resnet20").cells]
    printed, constant = RECIPES["resnet-cifar"], RECIPES["prune-responsibly"]
    assert (constant.training, constant.fine_tuning) == ("30x0.01", "30x0.01")
    assert constant.augmentation == printed.augmentation
    changed = [each for each in configs if each.recipe == "prune-responsibly"]
    assert {(each.batch_size, each.momentum, each.weight_decay) for each in changed} == {
        (printed.batch_size, printed.momentum, printed.weight_decay)
    }
    assert (len(changed), len(configs)) == (8, 16)
    assert {(each.epochs, each.fine_tune_epochs) for each in configs} == {(6, 3)}
    assert {each.ramp_steps for each in configs if each.pruner == "mp"} == {5}


def test_quantized_training_has_both_ways_and_the_control_of_each_network():
    configs = [cell.config for cell in read("quantized-training").cells]
    ways = {(4, "while-training"), (4, "after-training"), (8, "while-training"), (8, "after-training")}
    found = {(each.weight_bits, each.quantization, each.seed) for each in configs}
    assert found == {(*way, seed) for seed in range(200, 210) for way in [*ways, (32, "while-training")]}
    assert len(configs) == 50
    assert {(each.dataset, each.model, each.decay, each.pruner) for each in configs} == {
        ("fashion-mnist", "lenet5", "cosine", CONTROL)
    }


def test_prune_responsibly_has_the_seven_techniques_and_both_weight_treatments_of_paganini():
    found = read("prune-responsibly")
    configs = [cell.config for cell in found.cells]
    assert {(each.iterations, each.keep, each.recipe, each.validation_fraction) for each in configs} == {
        (20, 0.8, "prune-responsibly", 0.2)
    }
    kinds = {"l1-structured", "l2-structured", "linf-structured", "random-structured"}
    techniques = kinds | {"l1-unstructured", "random-unstructured", "global-unstructured"}
    chains = {(each.dataset, each.pruner, each.weight_treatment, each.seed) for each in configs}
    assert chains == set(product(["mnist", "fashion-mnist"], techniques | {CONTROL}, ["finetune", "rewind"], range(6)))
    assert len(chains) == len(configs)
