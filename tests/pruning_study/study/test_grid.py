import os
import re
from itertools import product
from pathlib import Path

import pytest

from analysis.common.errors import StudyError
from analysis.runs.primaries import Primary
from pruning_study.options.config import IterateConfig, PruneConfig
from pruning_study.study import grid
from tests.damage import read_damaged
from tests.memory_limit import memory_limit


@pytest.fixture
def read(tmp_path):
    def of(text, **given):
        path = tmp_path / "small.yaml"
        path.write_text(text)
        return grid.read(path, given)

    return of


@pytest.fixture
def faults(read):
    def of(text):
        with pytest.raises(StudyError) as error:
            read(text).check()
        assert error.value.option == "FILE"
        return str(error.value)

    return of


def test_the_options_of_a_grid_are_added_to_those_of_the_file__and_replace_their_values(read):
    text = "{epochs: 1, fine_tune_epochs: 2, ratio: [10], grids: [{pruner: [mp]}, "
    found = read(text + "{pruner: [up], fine_tune_epochs: 3, epsilon: 0.001}]}")
    assert [(c.config.epochs, c.config.fine_tune_epochs, c.config.epsilon) for c in found.cells] == [
        (1, 2, None),
        (1, 3, 0.001),
    ]


def test_a_fault_names_the_file_s_option_or_the_grid_s(faults):
    found = faults("{epochs: x, grids: [{fine_tune_epochs: y}]}")
    assert "  epochs: " in found
    assert "grids[0].fine_tune_epochs: " in found
    assert "grids[0].epochs" not in found


def test_lists_multiply_and_none_stands_once_a_seed(read):
    found = read("{model: [lenet5, resnet20], pruner: [mp, none, up], ratio: [2, 10], seed: [3, 5]}")
    cells = {(c.config.model, c.config.pruner, c.config.ratio, c.config.seed) for c in found.cells}
    assert cells == {
        (model, pruner, (ratio,), seed)
        for model in ("lenet5", "resnet20")
        for pruner, ratio in [("mp", 2), ("mp", 10), ("up", 2), ("up", 10), ("none", 1)]
        for seed in (3, 5)
    }
    assert len(found.cells) == 20


def test_schedules_and_distillation_multiply_and_none_has_no_schedule(read):
    found = read("{pruner: [mp, none], ratio: [2, 10], schedule: [one-shot, cubic], distill: [0, 0.5]}")
    cells = [(c.config.pruner, c.config.ratio[0], c.config.schedule, c.config.distill) for c in found.cells]
    assert len(cells) == 10
    assert set(cells) == {
        *(("mp", ratio, name, weight) for ratio in (2, 10) for name in ("one-shot", "cubic") for weight in (0, 0.5)),
        *(("none", 1, "one-shot", weight) for weight in (0, 0.5)),
    }
    assert {cell.config.method for cell in found.cells} == {
        "mp", "mp cubic", "mp distill 0.5", "mp cubic distill 0.5", "none", "none distill 0.5"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "methods"),
    [
        (
            "{class_weights: [none, dense], class_weight_power: [1, 2]}",
            ["mp", "mp class weights", "mp class weights class-weight-power 2"],
        ),
        (
            "{constraint: [none, ceag], constraint_images: [train, validation], constraint_step: [auto, 0.2]}",
            [
                "mp",
                *(
                    f"mp constraint ceag{images}{step}"
                    for images in ("", " constraint-images validation")
                    for step in ("", " constraint-step 0.2")
                ),
            ],
        ),
        (
            "{data_quotas: [none, recall], data_density: [0.5, 0.3]}",
            ["mp", "mp data quotas", "mp data quotas data-density 0.3"],
        ),
        (
            "{class_offsets: [none, dense], offset_shrinkage: [0, 1]}",
            ["mp", "mp class offsets", "mp class offsets offset-shrinkage 0"],
        ),
        ("{pruner: [none], class_weight_power: [1, 2]}", ["none"]),
    ],
)
def test_details_of_a_mitigation_do_not_multiply_what_is_made_without_it(read, text, methods):
    assert sorted(cell.config.method for cell in read(text).cells) == sorted(methods)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("begin: 5", "begin: it applies only with --start initialization"),
        ("{distill: [0, 0.5], start: initialization}", "distill[1]: it applies only with --start dense"),
        (
            "{performance_weighted: [none, '0.5,1'], distill: [0.5]}",
            "performance_weighted[1]: it already learns from the dense network: leave --distill out",
        ),
    ],
)
def test_options_that_do_not_go_together_are_faults_with_their_place(read, text, fault):
    assert read(text).faults == (fault,)


def test_none_is_the_same_run_whatever_the_ramp(read):
    grids = [f"{{pruner: [mp, none], schedule: [cubic], ramp: {ramp}}}" for ramp in (0.25, 0.5)]
    configs = [cell.config for cell in read(f"grids: [{', '.join(grids)}]").cells]
    assert configs.count(PruneConfig(pruner="none")) == len(configs) - 2
    assert {config.ramp for config in configs if config.pruner == "mp"} == {0.25, 0.5}


def test_none_ignores_the_scope(read):
    found = read("{pruner: [mp, none, a.b:c], scope: layer}")
    assert [cell.config.scope for cell in found.cells] == ["layer", None, "layer"]


def test_what_is_left_out_is_the_default_of_prune(read):
    (cell,) = read("pruner: [gp]").cells
    assert cell.config == PruneConfig(pruner="gp")
    assert [cell.config for cell in read("recipe: [auto, resnet-cifar]").cells] == [
        PruneConfig(),
        PruneConfig(recipe="resnet-cifar"),
    ]


def test_a_single_value_is_a_list_of_one(read):
    (cell,) = read("{pruner: gp, epochs: 3, learning_rate: 1e-2, prune_output_layer: true}").cells
    assert cell.config == PruneConfig(pruner="gp", epochs=3, learning_rate=0.01, prune_output_layer=True)
    assert [cell.config.seed for cell in read("seed: 0").cells] == [0]
    assert [cell.config.seed for cell in read("seed: '300'").cells] == [300]


def test_seeds_as_a_range(read):
    assert [cell.config.seed for cell in read("seed: 7-9").cells] == [7, 8, 9]
    assert [cell.config.seed for cell in read("seed: 4 - 4").cells] == [4]


def test_a_list_of_any_option_is_an_axis(read):
    text = "{epochs: [1, 2], prune_output_layer: [false, true], precision: [float32, bf16], weight_decay: [0, 1e-4]}"
    cells = [
        (c.config.epochs, c.config.prune_output_layer, c.config.precision, c.config.weight_decay)
        for c in read(text).cells
    ]
    assert sorted(cells) == sorted(product([1, 2], [False, True], ["float32", "bf16"], [0.0, 1e-4]))
    assert [cell.config.iterations for cell in read("iterations: [3, 4]").cells] == [3, 4]


def test_lists_say_how_trainings_end(read):
    found = read("{decay: [none, cosine], fine_tune_average_epochs: [0], ratio: [2, 4]}")
    assert [(c.config.decay, c.config.fine_tune_decay, c.config.ratio) for c in found.cells] == [
        ("none", None, (2.0,)),
        ("none", None, (4.0,)),
        ("cosine", None, (2.0,)),
        ("cosine", None, (4.0,)),
    ]
    found = read("{average_epochs: [0, 7], fine_tune_average_epochs: [0, 3]}")
    assert [(c.config.average_epochs, c.config.fine_tune_average_epochs) for c in found.cells] == [
        *((0, 0), (0, 3), (7, 0), (7, 3))
    ]
    found = read("{decay: [cosine], fine_tune_decay: [none, linear], iterations: 3}")
    assert "fine_tune_decay: a grid of iterate does not accept this option" in found.faults[0]
    found = read("{decay: [none, cosine], average_epochs: [0, 7]}")
    assert len(found.cells) == 3
    assert found.faults == (
        "average_epochs[1]: 7 epochs are averaged at a constant learning rate, but cosine decays the rate to 0: "
        "give 0, or --decay none",
    )


def test_what_the_command_gives_counts_for_all_cells(read):
    found = read("{protocol: paper, seed: 0-1}", protocol="released", data_dir="there")
    assert {(cell.config.protocol, str(cell.config.data_dir)) for cell in found.cells} == {("released", "there")}


def test_several_grids_take_the_keys_beside_them_for_defaults(read):
    found = read(
        "{pruner: [mp], seed: 0-1, grids: ["
        "{dataset: [mnist], model: [lenet5]}, {dataset: [cifar10], model: [resnet20], seed: [5]}]}"
    )
    assert [(c.config.dataset, c.config.model, c.config.seed) for c in found.cells] == [
        ("mnist", "lenet5", 0),
        ("mnist", "lenet5", 1),
        ("cifar10", "resnet20", 5),
    ]


def test_a_cell_of_two_grids_stands_once(read):
    assert len(read("{seed: 0-1, grids: [{ratio: [2]}, {ratio: [2, 4]}]}").cells) == 4


def test_the_name_is_the_files_unless_it_says_so(read):
    assert read("seed: 0-1").name == "small"
    assert read("{name: mine, seed: 0-1}").name == "mine"


def test_the_experiment_is_named_as_the_study_unless_the_file_says_so(read):
    assert read("seed: 0-1").experiment == "small"
    assert read("{name: mine, seed: 0-1}").experiment == "mine"
    assert read("{name: mine, experiment: ours, seed: 0-1}").experiment == "ours"


def test_an_error_found_later_names_the_key(read):
    cell = read("{seed: 0-1, grids: [{ratio: [2]}, {ratio: [4, 100]}]}").cells[-1]
    assert cell.place(StudyError("too large", option="ratio")) == "grids[1].ratio[1]: too large"
    assert cell.place(StudyError("so", option="seed")) == "seed: so"
    assert cell.place(StudyError("so")) == "so"


def test_a_number_in_text_is_a_number(read):
    """YAML reads 1e1 as text, because it has no decimal point."""
    text = "grids: [{{ratio: [{}, 4]}}, {{sparsity: [{}]}}, {{iterations: {}, keep: {}}}]"
    found = read(text.format("1e1", "5e-1", "'3'", "5e-1"))
    assert found.faults == ()
    assert found.cells == read(text.format(10, 0.5, 3, 0.5)).cells


def test_all_that_is_wrong_is_said_at_once_with_its_key(faults):
    text = """
        datsets: [mnist]
        model: [lenet5, lenet, lenet5]
        pruner: [mp, gp, upp]
        seed: [0, 1, 0, 1.5]
        epochs: 0
        epsilonn: 3
        force: true
        device: cpu
        grids:
          - ratio: [2, 0.5, "3,4", yes]
          - ratio: [[2, 4]]
    """
    assert faults(text).splitlines()[1:] == [
        "  datsets: there is no such key: did you mean dataset?",
        "  epsilonn: there is no such key: did you mean epsilon?",
        "  force: it does not belong in the file: leave it out",
        "  device: it does not belong in the file: leave it out",
        "  model[1]: 'lenet' is not a model: did you mean lenet5?",
        "  model[2]: lenet5 is listed twice",
        "  epochs: 0 is below 1",
        "  pruner[2]: 'upp' is not a pruner: did you mean up?",
        "  grids[0].ratio[1]: 0.5 must be at least 1",
        "  grids[0].ratio[2]: '3,4' is not a number",
        "  grids[0].ratio[3]: 'true' is not a number",
        "  seed[2]: 0 is listed twice",
        "  seed[3]: '1.5' is not a whole number",
        "  grids[1].ratio[0]: [2, 4] is not a number",
    ]


@pytest.mark.parametrize("prefix", ["", "grids[0]."])
def test_a_key_of_an_earlier_version_is_refused_with_the_option_s_name(read, prefix):
    names = ("dataset", "model", "pruner", "ratio", "schedule", "recipe", "seed", "decay", "fine_tune_decay")
    old = {f"{name}s": name for name in names} | {"sparsities": "sparsity", "data_densities": "data_density"}
    keys = "{" + ", ".join(f"{key}: [1]" for key in old) + "}"
    found = read(f"grids: [{keys}]" if prefix else keys)
    assert found.faults == tuple(f"{prefix}{key}: there is no such key: did you mean {old[key]}?" for key in old)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no grid"),
        ("just words", "has no grid"),
        ("[1, 2]", "has no grid"),
        ("a: b: c", "is not a YAML file"),
        ("\0", "is not a YAML file"),
        ("seed: [0", "is not a YAML file"),
        ("seed: &a [*a]", "is not a YAML file"),
        ("x: !!python/object/apply:os.system [ls]", "is not a YAML file"),
        ("{pruner: [mp], pruner: [up]}", "pruner is given twice"),
        ("? [a, b]\n: 1", "is not a YAML file"),
        ("{" * 3000, "more than 100 nested brackets"),
        ("seed: 0-1-2", "seed: '0-1-2' is neither a range"),
        ("seed: 5-3", "the smaller seed first"),
        ("seed: 0-9999999999", "none above 2147483647"),
        ("seed: 0-1000000", "1,000,001 seeds, but the limit is 100,000"),
        ("seed: true", "seed: 'true' is not a whole number"),
        ("epochs: []", "epochs: the list has no values: leave the option out"),
        ("seed: [-1]", r"seed\[0\]: -1 is below 0"),
        ("pruner: {mp: 1}", "pruner: {'mp': 1} is not a single value"),
        ("model: [null]", r"model\[0\]: None is not a single value"),
        ("dataset: [2020-01-01]", "is not a single value"),
        ("epochs: [[1, 2]]", r"epochs\[0\]: \[1, 2\] is not a single value"),
        ("epochs: [1, x]", r"epochs\[1\]: 'x' is not a whole number"),
        ("epochs: [1, 2, 1]", r"epochs\[2\]: 1 is listed twice"),
        ("overrides: {epochs: 1}", "overrides: there is no such key: write its options beside the others"),
        ("grids: {}", "grids: it must be a list of grids"),
        ("grids: []", "grids: it must be a list of grids"),
        ("grids: [1]", "grids: it must be a list of grids"),
        ("{name: [a], seed: 0-1}", "name: .* is not a string"),
        ("{experiment: [a], seed: 0-1}", "experiment: .* is not a string"),
    ],
)
def test_what_is_no_study(faults, text, message):
    assert re.search(message, faults(text))


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(StudyError, match="No such file"):
        grid.read(tmp_path / "none.yaml")
    with pytest.raises(StudyError, match="Is a directory"):
        grid.read(tmp_path)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(StudyError, match="is not a YAML file"):
        grid.read(tmp_path / "binary.yaml")


LAUGHS = "a0: &a0 [lol]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))
MERGES = "a0: &a0 {k: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}\n" for n in range(1, 12))


@pytest.mark.attack
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LAUGHS + "seed: *a11", r"seed\[0\]: \[\[\[\.\.\.\], "),
        (LAUGHS + "name: *a11", "is not a string"),
        (LAUGHS + "epochs: *a11", "is not a single value"),
        (MERGES, "more than 10,000 keys|a0: there is no such key"),  # PyYAML merges equal keys once from 6.0.4 on
        ("a: &g {seed: 0-99999}\ngrids: [" + "*g, " * 1000 + "]", "100,000,000 runs, but the limit is 1,000,000"),
        ("a: &r [" + "2, " * 9000 + "]\ngrids: [" + "{ratio: *r}, " * 99 + "]", "values, but the limit is 200,000"),
        ("{seed: 0-99999, ratio: [" + ", ".join(map(str, range(2, 99))) + "]}", "9,700,000 runs"),
        ("{iterations: [19999, 20001], seed: 0-49}", "2,000,000 runs"),
        ("seed: 0-99999999999", "neither a range"),
        ("seed: [" + "[" * 100_000, "more than 100 nested brackets"),
        ("#" * 2**20, "larger than 262,144 bytes"),
    ],
)
def test_a_study_file_of_a_few_lines_that_stands_for_billions_of_values__is_refused_at_once(faults, text, message):
    with memory_limit(100):
        said = faults(text)
    assert re.search(message, said)
    assert max(map(len, said.splitlines())) < 700


@pytest.mark.attack
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: [010]", "YAML reads 010 as another number"),
        ("seed: [1:30]", "YAML reads 1:30 as another number"),
        ("learning_rate: 1:30.5", "YAML reads 1:30.5 as another number"),
        ("dataset: [no]", r"dataset\[0\]: YAML reads no, off, yes and on as true or false: quote the name"),
        ("model: [on]", r"model\[0\]: YAML reads no"),
        ("weights: off", "weights: YAML reads no"),
        ("dataset: [2020-01-01]", "is not a single value"),
        ("dataset: [!!binary aGk=]", "is not a single value"),
        ("seed: [1.0]", "'1.0' is not a whole number"),
        ("ratio: [.nan, .inf]", "nan is not a finite number"),
        ("seed: [" + "9" * 5000 + "]", "4300 digits"),
        ("seed: [0x" + "f" * 9000 + "]", "4300 digits"),
        ("{epochs: 1, epochs: 2}", "epochs is given twice"),
        ("grids: [{seed: [1], seed: [2]}]", "seed is given twice"),
        ("seed: 0-1\n---\nseed: 0-2", "is not a YAML file"),
    ],
)
def test_a_value_that_yaml_reads_as_another_or_that_stands_twice__is_refused(faults, text, message):
    assert re.search(message, faults(text))


@pytest.mark.attack
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (r'name: "a\e[2J"', r"name: 'a\x1b[2J' has a control character"),
        (r'"a\e[2J\n": 1', r"a\x1b[2J\n: there is no such key"),
        (r'model: ["\e[2J"]', r"model[0]: '\x1b[2J' is not a model"),
        (r'dataset: ["\uD800"]', r"dataset[0]: '\ud800' is not text in UTF-8"),
        (r'dataset: ["a\0.npz"]', r"dataset[0]: 'a\x00.npz' is not text in UTF-8"),
        (r'"\u202e": 1', r"\u202e: there is no such key"),
        ("name: " + "x" * 300, "has 300 characters"),
    ],
)
def test_a_study_file_with_characters_that_command_the_terminal__is_shown_with_escapes(faults, text, shown):
    said = faults(text)
    assert shown in said
    assert all(line.isprintable() for line in said.splitlines())


@pytest.mark.attack
def test_a_pipe_or_a_device_as_a_study_file__is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    for path in (tmp_path / "pipe.yaml", Path("/dev/zero")):
        with pytest.raises(StudyError, match="a pipe or a device") as caught:
            grid.read(path)
        assert caught.value.option == "FILE"


def test_a_mapping_that_merges_another_may_be_merged_itself(read):
    found = read(
        "grids: [&a {seed: 0-1, ratio: [2]}, &b {<<: *a, ratio: [4]}, {<<: *b, ratio: [8]}, {<<: [*b, *a], seed: [9]}]"
    )
    assert [(c.config.ratio[0], c.config.seed) for c in found.cells] == [
        (2, 0), (2, 1), (4, 0), (4, 1), (8, 0), (8, 1), (4, 9)
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.attack
def test_2000_study_files_with_seeded_random_damage__are_read_or_refused_line_by_line(tmp_path):
    sound = [
        b"name: mine\ndataset: [mnist]\nmodel: lenet5\nratio: [2, 4]\nseed: 0-3\nepochs: 2\n",
        b"grids:\n  - &one\n    pruner: [mp, up]\n    seed: [1]\n  - <<: *one\n    distill: [0.5]\n",
        f"pruner: [mp, up]\nratio: [10]\nprimary:\n  - {{{UP}}}\n".encode(),
    ]
    parts = [bytes([byte]) for byte in b"&*!%@`|>?:-#{}[]'\"\t\n\0\x1b\xff,"]
    parts += [
        b"<<: *one",
        b"*one",
        b"&one",
        b"!!python/name:os.system",
        b"!!int",
        b"!!set",
        b".nan",
        b"0x1F",
        b"~",
        b"[" * 99,
    ]

    def read(path):
        try:
            grid.read(path).check()
        except StudyError as error:
            raise StudyError(max(str(error).splitlines(), key=len)) from error

    assert 20 < read_damaged(read, tmp_path / "study.yaml", sound, parts, 2000) < 1000


PLANNED = "{{dataset: [mnist, a_b], pruner: [mp, up, none], ratio: [2, 10], seed: 0-1, primary: [{}]}}"
UP = "method: up, baseline: mp, ratio: 10, outcomes: [alpha]"


def test_primary_comparisons_are_of_all_data_sets_unless_they_say_so(read):
    found = read(PLANNED.format(f"{{{UP}}}, {{{UP}, datasets: [a_b], direction: less}}"))
    assert found.faults == ()
    assert tuple(primary.as_given for primary in found.primaries) == (
        Primary("up", "mp", 10.0, ("alpha",), ("mnist", "a-b")),
        Primary("up", "mp", 10.0, ("alpha",), ("a-b",), "less"),
    )
    assert read("seed: 0-1").primaries == ()
    assert read(PLANNED.format(f"{{{UP.replace('10', '1e1')}}}")).primaries[0].as_given == found.primaries[0].as_given


@pytest.mark.parametrize(
    ("primary", "accepted"),
    [
        ("method: mp, baseline: none, ratio: 2, outcomes: [largest_excess]", True),
        ("method: up epsilon 5e-4, baseline: mp, ratio: 2, outcomes: [alpha]", True),  # LeNet5 has no weight decay
        ("method: up epsilon 1e-3, baseline: mp, ratio: 2, outcomes: [alpha]", False),
        ("method: mp one-shot, baseline: none, ratio: 2, outcomes: [alpha]", True),
        ("method: mp cubic, baseline: mp, ratio: 2, outcomes: [alpha]", False),
    ],
)
def test_settings_of_a_primary_comparison_are_those_that_the_runs_will_have(read, primary, accepted):
    assert (read(PLANNED.format(f"{{{primary}}}")).faults == ()) == accepted


@pytest.mark.parametrize(
    ("primary", "fault"),
    [
        (UP.replace("up", "gp"), ".method: the grid has no 'gp' at ratio 10 on mnist; its pruners there are mp, up"),
        (UP.replace("mp", "gp"), ".baseline: the grid has no 'gp' at ratio 10 on mnist; its pruners there are mp, "),
        (UP.replace("mp", "up"), ".baseline: 'up' is the method itself: name a different baseline"),
        (UP.replace("10", "20"), ".ratio: the grid has no ratio 20 on mnist; it has 1, 2, 10"),
        (UP.replace("10", "ten"), ".ratio: 'ten' is not a number"),
        (UP.replace("10", "1" + 400 * "0"), ".ratio: 1"),
        (UP.replace("alpha", "alphs"), ".outcomes[0]: 'alphs': did you mean alpha?"),
        (UP.replace("alpha", "alpha, alpha"), ".outcomes[1]: alpha is listed twice"),
        (UP.replace("[alpha]", "alpha"), ".outcomes: 'alpha' is not a list of names"),
        (UP.replace("[alpha]", "[[alpha]]"), ".outcomes[0]: ['alpha']: did you mean alpha?"),
        (UP.replace("up", "up epsilon"), ".method: 'up epsilon': epsilon has no value; "),
        (UP.replace("up", "3"), ".method: 3 is not a string"),
        (f"{UP}, datasets: [cifar10]", ".datasets[0]: 'cifar10': it takes mnist, a-b"),
        (f"{UP}, direction: down", ".direction: 'down': it takes two-sided, less, greater"),
        (f"{UP}, model: lenet5", ".model: there is no such key: it takes method, baseline, "),
        ("method: up", ".baseline: is missing, and every primary comparison needs it"),
    ],
)  # fmt: skip
def test_a_primary_comparison_that_is_wrong_is_one_line(read, primary, fault):
    (found,) = read(PLANNED.format(f"{{{primary}}}")).faults
    assert found.startswith(f"primary[0]{fault}")
    assert "\n" not in found


@pytest.mark.parametrize("given", ["5", "{method: up}", "[" + ", ".join(101 * ["{}"]) + "]"])
def test_what_is_no_list_of_primary_comparisons(read, given):
    (found,) = read(f"{{pruner: [mp, up], primary: {given}}}").faults
    assert found == "primary: it must be a list of at most 100 comparisons, each with keys and values"


def test_a_primary_comparison_is_no_text(read):
    (found,) = read("{pruner: [mp, up], primary: [up]}").faults
    assert found.startswith("primary[0]: 'up' is not a comparison: give the keys method, baseline, ")


def test_a_label_stands_for_the_settings_of_the_study_s_own_grid(read):
    text = "{model: [lenet5, lenet-300-100], grids: [{pruner: [mp], schedule: [cubic]}, {pruner: [none]}], "
    (found,) = read(
        text + "ratio: [10], primary: [{method: mp, baseline: none, ratio: 10, outcomes: [alpha]}]}"
    ).primaries
    names = ("model", "pruner", "schedule", "ratio")
    methods, baselines = ([[dict(each)[name] for name in names] for each in side] for side in found[6:8])
    assert methods == [["lenet5", "mp", "cubic", 10.0], ["lenet-300-100", "mp", "cubic", 10.0]]
    assert baselines == [["lenet5", "none", "one-shot", 1.0], ["lenet-300-100", "none", "one-shot", 1.0]]
    assert not {"seed", "phases", "sparsity"} & dict(found.methods[0]).keys()


@pytest.mark.parametrize(
    "grids",
    [
        "{pruner: [mp], decay: [cosine]}, {pruner: [none], decay: [none]}",
        "{pruner: [mp], seed: 0-4}, {pruner: [none], seed: 5-9}",
        "{pruner: [mp], model: [lenet5]}, {pruner: [none], model: [lenet-300-100]}",
        "{pruner: [mp], weights: a.safetensors}, {pruner: [none], weights: b.safetensors}",
    ],
)
def test_methods_without_a_common_dense_network_cannot_be_compared(read, grids):
    of_mp = "primary: [{method: mp, baseline: none, ratio: 2, outcomes: [alpha]}]"
    (found,) = read(f"{{dataset: [mnist], ratio: [2], grids: [{grids}], {of_mp}}}").faults
    assert found == (
        "primary[0].baseline: 'none' shares no dense network with 'mp' at ratio 2 on mnist: give both a common model "
        "and seed, and the same settings of training"
    )


@pytest.mark.parametrize("amounts", ["iterations: 3", "sparsity: [0.5]"])
def test_a_grid_without_ratios_has_no_primary_comparison(read, amounts):
    (found,) = read(f"{{pruner: [mp], {amounts}, primary: [{{{UP.replace('up', 'typo')}}}]}}").faults
    assert found == (
        "primary: it compares networks at a ratio, but the file's grids have only iterations or sparsity: add "
        "ratio, or leave primary out"
    )


def test_what_the_released_code_means_by_up_is_named_as_its_runs_are(read):
    text = "{{pruner: [mp, up], protocol: released, primary: [{}]}}"
    (found,) = read(text.format(f"{{{UP}}}")).faults
    assert found.endswith("its pruners there are mp, up-signed")
    assert len(read(text.format("{" + UP.replace("up", "up-signed") + "}")).primaries) == 1


def test_a_grid_of_iterations_is_chains_with_the_defaults_of_iterate(read):
    found = read("{pruner: [l1-structured, none], weight_treatment: [finetune, rewind], seed: 0-1, iterations: 3}")
    found.check()
    cells = [(c.config.pruner, c.config.weight_treatment, c.config.seed) for c in found.cells]
    assert sorted(cells) == sorted(product(["l1-structured", "none"], ["finetune", "rewind"], [0, 1]))
    assert {type(c.config) for c in found.cells} == {IterateConfig}
    assert {(c.config.iterations, c.config.keep, c.config.recipe) for c in found.cells} == {
        (3, 0.8, "prune-responsibly")
    }


def test_grids_of_iterations_and_of_ratios_stand_in_one_file(read):
    found = read("{ratio: [2], seed: [0], grids: [{pruner: [mp]}, {pruner: [up], keep: 0.5}]}")
    found.check()
    assert [(type(c.config), c.config.pruner) for c in found.cells] == [(PruneConfig, "mp"), (IterateConfig, "up")]
    assert found.cells[1].config.keep == 0.5


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{iterations: 3, ratio: [2]}", "ratio: a grid of iterate does not accept this option"),
        (
            "{grids: [{iterations: 3, schedule: [cubic]}]}",
            "grids[0].schedule: a grid of iterate does not accept this option",
        ),
        ("{iterations: 3, grids: [{ratio: [2, 4]}]}", "grids[0].ratio: a grid of iterate does not accept this option"),
        (
            "{keep: 0.5, grids: [{}, {distill: [0.5]}]}",
            "grids[1].distill: a grid of iterate does not accept this option",
        ),
        ("{weight_treatment: [rewind], grids: [{sparsity: [0.5]}]}", "grids[0].sparsity: a grid of iterate"),
        ("{iterations: 1}", "iterations: 1 is below 2"),
        ("{iterations: [3, [4]]}", "iterations[1]: [4] is not a number"),
        ("{keep: 1.5}", "keep: 1.5 must be above 0 and below 1"),
        ("{weight_treatment: [rewound]}", "weight_treatment[0]: 'rewound'"),
        ("{keep: 0.8, fine_tune_epochs: 3}", "fine_tune_epochs: a grid of iterate does not accept this option"),
        ("{iterations: 20000, seed: 0-99}", "2,000,000 runs"),
    ],
)
def test_faults_of_a_grid_of_iterations(faults, text, fault):
    assert fault in faults(text)


def test_a_study_that_comes_along_is_found_by_its_name_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for named in ("quick", "quick.yaml", "studies/quick.yaml"):
        assert grid.located(Path(named)) == grid.STUDIES / "quick.yaml"
    assert grid.read(grid.located(Path("quick"))).name == "quick"
    assert grid.located(Path("mine.yaml")) == Path("mine.yaml")
    Path("quick.yaml").write_text("seed: [1]", encoding="utf-8")
    assert grid.located(Path("quick.yaml")) == Path("quick.yaml")


def test_a_study_of_a_folder_has_its_name__and_what_it_publishes_is_no_part_of_the_grid(tmp_path, monkeypatch):
    folder = tmp_path / "results" / "decay"
    folder.mkdir(parents=True)
    with pytest.raises(StudyError, match=r"results/decay has no study\.yaml: give a folder that has one, or a file"):
        grid.located(folder)
    file = folder / "study.yaml"
    file.write_text("published: {means: [{by: [dataset]}]}", encoding="utf-8")
    with pytest.raises(StudyError, match="has no grid"):
        grid.read(file)
    file.write_text("seed: 0-1\npublished: {means: [{by: [dataset]}]}", encoding="utf-8")
    found = grid.read(grid.located(folder))
    assert (found.path, found.name, found.experiment, found.faults) == (file, "decay", "decay", ())
    assert [cell.config.seed for cell in found.cells] == [0, 1]
    monkeypatch.chdir(folder)
    assert grid.read(grid.located(Path())).name == "decay"
