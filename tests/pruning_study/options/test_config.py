import importlib.metadata
import itertools
import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from mlflow.utils.environment import _PythonEnv
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from analysis.common.errors import StudyError, option_name
from pruning_study.options.config import (
    CompressConfig,
    ExemplarsConfig,
    ExportConfig,
    GroupsConfig,
    IterateConfig,
    PruneConfig,
    QuantizeConfig,
    RobustnessConfig,
    StudyConfig,
    TrainConfig,
    TuneConfig,
)
from pruning_study.options.record import checked_value
from pruning_study.options.values import seeds
from tests.error_lines import refused
from tests.plans import planned

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    "config",
    [
        *(TrainConfig, PruneConfig, IterateConfig, TuneConfig, CompressConfig, ExemplarsConfig, GroupsConfig),
        *(StudyConfig, RobustnessConfig, QuantizeConfig, ExportConfig),
    ],
)
def test_a_default_is_what_its_check_returns(config):
    """So that defaults need no check."""
    for item in fields(config):
        assert checked_value(item, item.default) == item.default


def test_conda_has_the_projects_dependencies_at_the_versions_of_the_constraints():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    listed = map(Requirement, project["dependencies"] + project["optional-dependencies"]["train"])
    dependencies = [each for each in listed if not each.marker or each.marker.evaluate({"python_version": "3.11"})]
    conda = yaml.safe_load((ROOT / "conda.yaml").read_text())["dependencies"]
    pins = [Requirement(each) for each in conda[-1]["pip"]]
    assert [(each.name, each.extras) for each in pins] == [(each.name, each.extras) for each in dependencies]
    assert {each.name: str(each.specifier) for each in pins}.items() <= constraints().items()


def constraints():
    """Return the version of each package in constraints.txt, such as `==2.13.0`."""
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    return {each.name: str(each.specifier) for each in map(Requirement, lines)}


def test_constraints_fit_every_range_of_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    listed = [*project["dependencies"], *itertools.chain(*project["optional-dependencies"].values())]
    for each in map(Requirement, listed):
        if each.name != project["name"]:
            assert each.specifier.contains(constraints()[each.name].removeprefix("=="))


def test_constraints_hold_whatever_the_project_needs_in_turn():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    todo = [Requirement(each).name for each in project["dependencies"] + project["optional-dependencies"]["train"]]
    needed = set()
    while todo:
        name = canonicalize_name(todo.pop())
        if name not in needed and not name.startswith(("cuda-", "nvidia-", "triton")):  # torch pins these itself
            needed.add(name)
            requirements = map(Requirement, importlib.metadata.requires(name) or ())
            todo += [each.name for each in requirements if not each.marker or each.marker.evaluate({"extra": ""})]
    assert needed <= constraints().keys()


def test_constraints_are_exact_versions_that_any_index_has():
    text = (ROOT / "constraints.txt").read_text()
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][\w.]*", line) for line in text.splitlines()[1:])
    assert "torch==2.13.0\n" in text
    assert "://" not in text


def test_the_group_of_developers_tools_is_that_of_the_extra():
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extra = pyproject["project"]["optional-dependencies"]["test"]
    assert extra == ["pruning-study[train]", *pyproject["dependency-groups"]["dev"]]


def test_uv_makes_the_environment_of_conda_yaml_with_any_patch_version_of_python():
    """This is how MLflow reads the file for `mlflow run --env-manager uv`."""
    environment = _PythonEnv.from_conda_yaml(ROOT / "conda.yaml")
    required = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert re.fullmatch(r"\d+\.\d+", environment.python)
    assert all(SpecifierSet(required).contains(f"{environment.python}.{patch}") for patch in (0, 7, 99))
    assert environment.build_dependencies == ["pip==24.0"]
    assert all(re.fullmatch(r"[\w\[\]-]+==[\d.]+", pin) for pin in environment.dependencies)
    assert {"mlflow==3.17.2", "torch==2.13.0"} <= set(environment.dependencies)


def test_defaults(monkeypatch):
    monkeypatch.delenv("PRUNING_STUDY_DATA", raising=False)
    config = PruneConfig()
    assert (config.dataset, config.model, config.seed, config.pruner) == ("fashion-mnist-mini", "lenet5", 0, "mp")
    assert config.ratio == (10.0,)
    assert config.validation_fraction == 0.1
    assert config.data_dir == Path("data")


def test_data_dir_from_the_environment(monkeypatch):
    monkeypatch.setenv("PRUNING_STUDY_DATA", "/somewhere")
    assert TrainConfig().data_dir == Path("/somewhere")
    assert TrainConfig(data_dir="here").data_dir == Path("here")


def test_values_as_text_or_as_they_are():
    assert PruneConfig(ratio="2,4,10") == PruneConfig(ratio=(2.0, 4.0, 10.0))
    assert PruneConfig(force="false") == PruneConfig(force=False)
    assert PruneConfig(epsilon="auto") == PruneConfig(epsilon=None)
    assert PruneConfig(epsilon=1e-3).epsilon == 0.001


def test_the_control_has_ratio_1():
    assert PruneConfig(pruner="none").ratio == (1.0,)
    with pytest.raises(StudyError, match="its ratio must be 1"):
        PruneConfig(pruner="none", ratio="1,2")


@pytest.mark.parametrize(
    ("options", "method"),
    [
        ({"pruner": "up"}, "up"),
        ({"scope": "global"}, "mp"),
        ({"scope": "layer", "schedule": "cubic", "distill": 0.5}, "mp scope layer cubic distill 0.5"),
        ({"schedule": "cubic", "ramp": 0}, "mp"),
        ({"pruner": "none", "scope": "layer", "schedule": "cubic", "distill": 0.5}, "none distill 0.5"),
        ({"performance_weighted": ".5,1"}, "mp performance-weighted 0.5,1.0"),
        ({"class_weights": "dense"}, "mp class weights"),
        (
            {"class_weights": "dense", "class_weight_power": 2, "pruner": "none"},
            "none class weights class-weight-power 2",
        ),
        ({"class_weight_power": 2}, "mp"),
        ({"class_offsets": "dense", "offset_shrinkage": 0}, "mp class offsets offset-shrinkage 0"),
        ({"data_quotas": "recall", "data_density": 0.8}, "mp data quotas data-density 0.8"),
        ({"constraint": "ceag", "constraint_step": 0.2}, "mp constraint ceag constraint-step 0.2"),
        ({"constraint": "ceag", "constraint_step": 0.01}, "mp constraint ceag"),
        (
            {"constraint": "ceag", "constraint_images": "validation", "constraint_step": 0.01},
            "mp constraint ceag constraint-images validation constraint-step 0.01",
        ),
        ({"pruner": "no_such_module:score", "scope": "layer"}, "no_such_module:score scope layer"),
    ],
)
def test_a_method_is_the_pruner_and_what_differs_from_the_usual(options, method):
    assert PruneConfig(**options).method == method


BAD = [
    ("pruner", "upp", "did you mean up"),
    ("pruner", "magic", "it takes mp, gp"),
    ("scope", "layers", "did you mean layer"),
    ("recipe", "lenet", "did you mean lenet5"),
    ("protocol", "relased", "did you mean released"),
    ("ratio", "0.5", "at least 1"),
    ("ratio", "ten", "'ten' is not a number"),
    ("ratio", "2,,4", "'' is not a number"),
    ("ratio", "", "'' is not a number"),
    ("ratio", "nan", "not a finite number"),
    ("ratio", "inf", "not a finite number"),
    ("ratio", "2,2", "is given twice"),
    ("ratio", "2,2.0000001", "2,2.0000001: 2 is given twice"),
    ("seed", "1.5", "not a whole number"),
    ("seed", "-1", "below 0"),
    ("epochs", "0", "below 1"),
    ("fine_tune_epochs", "-1", "below 0"),
    ("batch_size", "0", "below 1"),
    ("learning_rate", "inf", "not a finite number"),
    ("learning_rate", "0", "above 0"),
    ("momentum", "1", "at least 0 and below 1"),
    ("weight_decay", "-1", "at least 0"),
    ("epsilon", "-1e-3", "at least 0"),
    ("epsilon", "nan", "not a finite number"),
    ("validation_fraction", "0", "above 0 and below 1"),
    ("validation_fraction", "1", "above 0 and below 1"),
    ("class_fractions", "5", "write class=share, such as 5=0.2"),
    ("class_fractions", "bowl, deep=0.5", "'bowl': write class=share, such as 5=0.2; a class name must have no comma"),
    ("class_fractions", "=0.5", "write class=share"),
    ("class_fractions", "5=0", "above 0 and at most 1"),
    ("class_fractions", "5=1.5", "above 0 and at most 1"),
    ("class_fractions", "5=some", "not a number"),
    ("class_fractions", "5=0.2,5=0.3", "5 is given twice"),
    (
        "class_fractions",
        ",".join(f"class {n}=0.5" for n in range(500)),
        "has 6,889 characters, but a run can log 6,000",
    ),
    ("performance_weighted", "0.5", "'0.5': write none, or two numbers such as 0.5,1"),
    ("performance_weighted", "0.5,1,2", "write none, or two numbers"),
    ("performance_weighted", "1.5,1", "at least 0 and at most 1"),
    ("performance_weighted", "0.5,-1", "at least 0"),
    ("performance_weighted", "0.5,nan", "not a finite number"),
    ("class_weights", "recall", "it takes none, dense"),
    ("class_weight_power", "-1", "at least 0"),
    ("class_weight_power", "inf", "not a finite number"),
    ("weight_bits", "1", "1 is neither 2 to 8 nor 32"),
    ("weight_bits", "16", "16 is neither 2 to 8 nor 32"),
    ("weight_bits", "four", "not a whole number"),
    ("quantization", "qat", "it takes while-training, after-training"),
    ("device", "quantum", "it takes cpu, cuda"),
    ("engine", "jax", "it takes torch, native"),
    ("precision", "double", "it takes float32, bf16"),
    ("force", "perhaps", "neither true nor false"),
    ("gradient_batches", "0", "below 1"),
    ("gradient_mode", "test", "it takes eval, train"),
    ("dataset", " ", "is empty"),
    ("image_size", "0", "below 1"),
]


@pytest.mark.parametrize(
    ("options", "option", "message"),
    [
        ({}, "--tune-mitigation", "--constraint, but got none"),
        (
            {"class_offsets": "dense", "class_weights": "dense"},
            "--tune-mitigation",
            "it needs exactly one of .*, but got --class-offsets and --class-weights",
        ),
        ({"class_offsets": "dense", "objective": "accuracy"}, "--objective", "use alpha, or the value both"),
    ],
)
def test_a_search_of_a_mitigation_takes_one_and_an_objective_that_it_serves(options, option, message):
    with refused(option, message):
        TuneConfig(**{"tune_mitigation": "true", "objective": "alpha"} | options)


@pytest.mark.parametrize(
    ("options", "strength"),
    [
        ({"class_offsets": "dense"}, "offset_shrinkage"),
        ({"class_weights": "dense"}, "class_weight_power"),
        ({"constraint": "ceag"}, "constraint_step"),
    ],
)
def test_the_strength_that_is_searched_is_that_of_the_mitigation(options, strength):
    assert TuneConfig(tune_mitigation="true", objective="both", **options).searched_strength == strength
    assert TuneConfig(**options).searched_strength == ""


@pytest.mark.parametrize(
    ("options", "option", "message"),
    [
        ({"fine_tune_decay": "none"}, "--fine-tune-decay", "none: --tune-decay searches the decay"),
        ({"fine_tune_epochs": 0}, "--fine-tune-epochs", "no decay to search"),
        ({"fine_tune_average_epochs": 3}, "--fine-tune-average-epochs", "3 epochs are averaged"),
        ({"average_epochs": 7}, "--fine-tune-average-epochs", "7 epochs are averaged"),
    ],
)
def test_a_search_of_the_decay_takes_no_option_that_settles_it(options, option, message):
    with refused(option, message):
        TuneConfig(tune_decay="true", **options)
    TuneConfig(**options)


def test_a_search_of_the_decay_takes_a_dense_network_that_is_a_mean():
    TuneConfig(tune_decay="true", average_epochs=7, fine_tune_average_epochs=0)


@pytest.mark.parametrize(("name", "value", "message"), BAD)
def test_bad_values_name_the_option(name, value, message):
    with refused(name, message):
        PruneConfig(**{name: value})


@pytest.mark.parametrize(("name", "value", "message"), [case for case in BAD if case[0] != "force"])
def test_bad_values_are_usage_errors_of_the_command_line(run_command, name, value, message):
    result = run_command("prune", option_name(name), value)
    assert result.exit_code == 2
    assert f"error: {option_name(name)}: " in result.output
    assert "Traceback" not in result.output


def test_performance_weights_and_distillation_exclude_each_other():
    with refused("performance_weighted", "leave --distill out"):
        PruneConfig(performance_weighted="0.5,1", distill=0.5)


def test_shares_of_classes_are_the_same_in_any_order_and_one_of_1_is_none():
    assert PruneConfig(class_fractions="8=.50, 5=0.2,a=b=1e-1,7=1").class_fractions == ("5=0.2", "8=0.5", "a=b=0.1")
    assert PruneConfig(class_fractions=("8=0.5",)).class_fractions == ("8=0.5",)
    assert PruneConfig(class_fractions="5=1").class_fractions is None


@pytest.mark.parametrize(
    ("typed", "wanted"), [("3", (3,)), ("0-4", (0, 1, 2, 3, 4)), ("0,2, 5", (0, 2, 5)), ("7,1-2", (7, 1, 2))]
)
def test_seeds_are_numbers_and_ranges(typed, wanted):
    assert seeds(typed) == wanted


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("4-0", "4-0: write the smaller seed first"),
        ("0-1000", "at most 1,000 seeds"),
        ("0-2,1", "0-2,1: 1 is given twice"),
        ("-1", "-1 is below 0"),
        ("1-", "'1-' is not a whole number"),
        ("", "'' is not a whole number"),
        (f"0-{2**31}", f"above {2**31 - 1}"),
    ],
)
def test_what_are_no_seeds_is_one_line_of_the_command_line(run_command, typed, message):
    result = run_command("prune", "--seed", typed)
    assert result.exit_code == 2
    assert message in result.output.replace("\n", " ")


@pytest.mark.parametrize(
    ("command", "option", "values"),
    [
        ("train", "--seed", ("1", "2")),
        ("prune", "--seed", ("1", "2")),
        ("prune", "--sparsity", ("0.5", "0.9")),
        ("quantize", "--number-format", ("float16", "fixed-int8")),
        ("robustness", "--corruptions", ("fog", "contrast")),
        ("exemplars", "--setting", ("schedule=cubic", "scope=layer")),
    ],
)
def test_an_option_of_several_values_that_is_given_twice_is_an_error(run_command, command, option, values):
    result = run_command(command, option, values[0], f"{option}={values[1]}")
    assert result.exit_code == 2
    assert f"{option} is given 2 times: give all values with one {option}, separated by commas" in result.output


def test_a_flag_may_have_a_value_or_none(run_command):
    result = run_command("prune", "--force", "perhaps")
    assert result.exit_code == 2
    assert "'perhaps' is not a valid boolean" in result.output
    assert "--ratio" in run_command("prune", "--force", "false", "--prune-output-layer", "--ratio", "x").output


def test_the_options_of_a_tuning_are_those_of_prune_for_every_seed():
    config = TuneConfig(seeds="3,5", ratio="5,10", weight_decay="0.01", fine_tune_epochs=2, n_trials=6)
    assert (config.seeds, config.epsilon_range, config.objective) == ((3, 5), (1e-8, 1e2), "accuracy")
    assert config.pruning(5) == PruneConfig(pruner="up", seed=5, ratio="5,10", weight_decay="0.01", fine_tune_epochs=2)
    gradual = {
        "scope": "layer",
        "schedule": "cubic",
        "ramp": 0.25,
        "ramp_steps": 3,
        "regrow": "true",
        "distill": 0.5,
        "temperature": 4,
    }
    assert TuneConfig(**gradual).pruning(0) == PruneConfig(pruner="up", **gradual)


@pytest.mark.parametrize(
    ("given", "option"),
    [
        ({"executor": "ray", "workers": "2"}, "--workers"),
        ({"gpus_per_step": "0.5"}, "--gpus-per-step"),
        ({"executor": "ray", "gpus_per_step": "1.5"}, "--gpus-per-step"),
    ],
)
def test_options_of_the_other_executor_are_usage_errors(given, option):
    with refused(option):
        StudyConfig(**given)


@pytest.mark.attack
@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["--dataset", "a\udcff"], r"'a\udcff' is not text in UTF-8"),
        (["--data-dir", "\udcff"], r"'\udcff' is not text in UTF-8"),
        (["--weights", "\udcff"], r"'\udcff' is not text in UTF-8"),
        (["--experiment", "\x1b[2J\udcff"], r"'\x1b[2J\udcff' is not text in UTF-8"),
        (["--recipe", "\x1b[2J"], r"'\x1b[2J' is not known: it takes"),
        (["--seed", "9" * 9000], "is not a whole number"),
        (["--learning-rate", "9" * 9000], "is not a finite number"),
        (["--max-data-gib", "nan"], "nan is not a finite number"),
        (["--max-data-gib", "0"], "0 must be above 0"),
        (["--ratio", ",".join(["2"] * 30_000)], "2 is given twice"),
    ],
)
def test_an_option_that_is_no_utf_8_endless_or_commands_the_terminal__is_a_usage_error_of_one_line(
    run_command, arguments, shown
):
    result = run_command("prune", *arguments)
    error, tip = result.output.splitlines()
    assert result.exit_code == 2
    assert tip == "tip: cli prune -h shows the options"
    assert shown in error
    assert error.isprintable()
    assert len(error) < 400


def test_the_limit_of_memory_is_no_param_of_a_run():

    small, usual = (planned(TrainConfig(max_data_gib=gib)).params for gib in ("0.5", "16"))
    assert small == usual
    assert not [name for name in usual if "gib" in name]


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"begin": 10}, "--begin"),
        ({"frequency": 5}, "--frequency"),
        ({"start": "initialization", "ramp": 0.25}, "--ramp"),
        ({"start": "initialization", "ramp_steps": 2}, "--ramp-steps"),
        ({"start": "initialization", "distill": 0.5}, "--distill"),
        ({"start": "initialization", "performance_weighted": "0.5,1"}, "--performance-weighted"),
        ({"start": "initialization", "class_weights": "dense"}, "--class-weights"),
        ({"start": "initialization", "weight_bits": 4}, "--weight-bits"),
        ({"schedule": "rigl", "weight_bits": 4}, "--weight-bits"),
        ({"start": "initialization", "weights": "a.safetensors"}, "--weights"),
    ],
)
def test_options_of_another_start_are_refused(options, option):
    with refused(option, "applies only with --start"):
        PruneConfig(**options)


@pytest.mark.parametrize(
    ("options", "option", "message"),
    [
        ({"average_epochs": 1}, "--average-epochs", "mean of 1 epoch"),
        ({"average_epochs": 7, "decay": "cosine"}, "--average-epochs", "--decay none"),
        ({"average_epochs": 7, "kept_epoch": "best"}, "--kept-epoch", "keeps the mean of 7"),
        ({"average_epochs": 7, "fine_tune_decay": "linear"}, "--fine-tune-average-epochs", "--fine-tune-decay none"),
        ({"decay": "cosine", "fine_tune_average_epochs": 3}, "--fine-tune-average-epochs", "--fine-tune-decay none"),
        ({"fine_tune_average_epochs": 3, "kept_epoch": "best"}, "--kept-epoch", "keeps the mean of 3"),
    ],
)
def test_a_mean_of_epochs_and_what_speaks_against_it_is_one_line(options, option, message):
    with refused(option, message):
        PruneConfig(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"decay": "cosine", "fine_tune_decay": "none", "fine_tune_average_epochs": 3},
        {"average_epochs": 7, "fine_tune_average_epochs": 0, "fine_tune_decay": "cosine"},
        {"average_epochs": 7, "fine_tune_average_epochs": 0, "kept_epoch": "last"},
        {"average_epochs": 7, "fine_tune_epochs": 0, "fine_tune_decay": "cosine"},
    ],
)
def test_training_may_end_in_a_mean_and_fine_tuning_in_a_decay(options):
    PruneConfig(**options)


@pytest.mark.parametrize("config", [TrainConfig, PruneConfig, IterateConfig, TuneConfig])
def test_the_native_engine_refuses_adam_and_the_line_names_the_engine_that_can(config):
    with refused("engine", r"^native does not train with adam: use torch"):
        config(optimizer="adam", engine="native")
    assert config(optimizer="adam").engine is None
    assert config(optimizer="sgd", engine="native").engine == "native"


@pytest.mark.parametrize("config", [TrainConfig, PruneConfig, IterateConfig, TuneConfig])
def test_the_native_engine_refuses_bf16_and_the_line_says_what_to_do(config):
    with refused("engine", r"^native trains in float32 only: use torch, or --precision"):
        config(precision="bf16", engine="native")
    assert config(precision="bf16").engine is None


def test_initialization_prunes_step_by_step_and_lets_weights_come_back():
    config = PruneConfig(start="initialization", end="0.5", begin="300")
    assert (config.is_gradual, config.begin, config.end) == (True, 300, 0.5)
    assert config.method == "mp initialization"
    assert not PruneConfig(start="initialization", pruner="none").is_gradual


@pytest.mark.parametrize("schedule", ["cubic", "set", "rigl"])
def test_a_schedule_has_no_effect_on_a_network_that_is_not_pruned(schedule):
    config = PruneConfig(pruner="none", schedule=schedule, fine_tune_epochs=3)
    assert (config.start, config.fine_tune_epochs) == ("dense", 3)


@pytest.mark.parametrize("options", [{"ratio": 10, "sparsity": 0.9}, {"pruner": "none", "sparsity": 0.5}])
def test_a_sparsity_stands_in_place_of_a_ratio(options):
    with refused("sparsity"):
        PruneConfig(**options)


def test_a_sparsity_has_no_ratio_until_the_network_is_known():
    assert PruneConfig(sparsity="0.5,0.9").ratio == ()
    assert PruneConfig(sparsity="0.5,0.9").amounts == ["sparsity 0.5", "sparsity 0.9"]
    assert PruneConfig(ratio="2,10").amounts == ["ratio 2", "ratio 10"]


@pytest.mark.parametrize("value", ["1e3", "1.5", "-1", "1.0"])
def test_a_step_that_is_neither_a_number_nor_a_share_is_named(value):
    with pytest.raises(StudyError, match="neither a whole number of steps nor a share"):
        PruneConfig(start="initialization", begin=value)
