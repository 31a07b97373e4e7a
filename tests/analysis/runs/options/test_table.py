"""The table of options: what is made of a record, and that an option is named in its record and where it is used."""

from dataclasses import fields
from pathlib import Path

import pytest

from analysis.runs import schema
from analysis.runs.options import table
from analysis.runs.options.commands import STRENGTHS, of_command, sections
from analysis.runs.options.record import Option
from analysis.runs.options.table import EVERY_COMMAND, OPTIONS
from pruning_study.options import config
from pruning_study.study import grid

ROOT = Path(__file__).parents[4]
CONFIGS = {name: getattr(config, f"{name.capitalize()}Config") for name in EVERY_COMMAND}


def test_an_option_is_named_in_its_record_its_role_and_where_it_is_used():
    code = [*(ROOT / "analysis").rglob("*.py"), *(ROOT / "pruning_study").rglob("*.py")]
    files = {path.name for path in code if "class_weight_power" in path.read_text()}
    assert files == {"table.py", "schema.py", "pruned.py"}


def test_a_record_says_all_of_an_option():
    record = of_command("prune")["class_weight_power"]
    assert (record.type, record.value, record.heading) == (float, 1.0, "Fine-tuning and gradual pruning")
    assert record.commands == ("prune", "tune")
    assert record.in_study
    assert schema.role("class_weight_power") is record.param
    assert schema.details("class_weights") == ["class_weight_power"]
    assert "class_weight_power" in sections()["Fine-tuning and gradual pruning"]
    assert STRENGTHS["class_weights"] == "class_weight_power"


def test_a_command_may_have_another_default_of_an_option():
    shares = {name: of_command(name)["validation_fraction"].value for name in ("train", "prune", "iterate", "tune")}
    assert shares == {"train": 0.1, "prune": 0.1, "iterate": 0.2, "tune": 0.1}
    assert of_command("tune")["ratio"].value == (10.0,)
    assert of_command("prune")["ratio"].value is None


@pytest.mark.parametrize("command", EVERY_COMMAND)
def test_a_command_has_each_option_once_and_a_type_checker_knows_its_type(command):
    names = [record.name for record in OPTIONS if command in record.commands]
    assert len(names) == len(set(names))
    cls = CONFIGS[command]
    assert {item.name for item in fields(cls)} == set(names)
    annotated = {}
    for base in reversed(cls.__mro__):
        if base.__module__ == table.__name__:
            annotated |= base.__annotations__
    for item in fields(cls):
        assert annotated[item.name] == item.type


def test_an_option_that_a_command_does_not_have_is_an_error():
    assert not hasattr(config.TuneConfig(), "sparsity")
    with pytest.raises(AttributeError, match="TuneConfig has no option sparsity"):
        _ = config.TuneConfig().sparsity


def test_all_records_of_the_table_are_listed():
    groups = [each for each in vars(table).values() if isinstance(each, type) and each.__module__ == table.__name__]
    declared = [record for group in groups for record in vars(group).values() if isinstance(record, Option)]
    assert sorted(map(id, declared)) == sorted(map(id, OPTIONS))
    assert {record.heading for record in OPTIONS} == set(table.HEADINGS)
    assert {command for record in OPTIONS for command in record.commands} == set(EVERY_COMMAND)


@pytest.mark.parametrize(
    ("name", "several"),
    [("ratio", True), ("seed", True), ("setting", True), ("class_fractions", True), ("epsilon_range", False)],
)
def test_an_option_of_any_number_of_values(name, several):
    assert next(record for record in OPTIONS if record.name == name).takes_several == several


def test_options_of_the_machine_do_not_belong_in_a_studys_file():
    assert {"force", "device", "dense_run_id", "data_dir", "workers"}.isdisjoint(grid.GRID_OPTIONS)
    assert {"protocol", "weights", "class_names", "count_zeros", "momentum"} <= set(grid.GRID_OPTIONS)


def test_seeds_change_the_soonest_in_a_grid():
    assert grid.GRID_OPTIONS[-1] == "seed"


def test_labels_name_settings_of_fine_tuning_before_the_scope_and_number_formats_last():
    order = [name for name in schema.ABSENT if name in ("number_format", "scope", "class_offsets", "schedule")]
    assert order == ["schedule", "class_offsets", "scope", "number_format"]
