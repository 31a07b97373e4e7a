"""The table of options: what is made of a record, and that an option is named in its record and where it is used."""

import subprocess
import sys
from pathlib import Path

import pytest

from analysis.runs import schema
from pruning_study.options import config, table
from pruning_study.options.config import of_command
from pruning_study.options.table import OPTIONS, sections
from pruning_study.pruning.pruners import PRUNERS
from pruning_study.study import grid

ROOT = Path(__file__).parents[3]


def test_an_option_is_named_in_its_record_its_role_and_where_it_is_used():
    code = [*(ROOT / "analysis").rglob("*.py"), *(ROOT / "pruning_study").rglob("*.py")]
    files = {path.name for path in code if "class_weight_power" in path.read_text()}
    assert files == {"table.py", "schema.py", "pruned.py"}


def test_a_record_says_all_of_an_option():
    record = of_command("prune")["class_weight_power"]
    assert (record.type, record.value, record.heading) == (float, 1.0, "Fine-tuning and gradual pruning")
    assert record.help.startswith("POWER of --class-weights: a larger one gives more weight")
    assert record.metavar == "FLOAT"
    assert record.in_study
    assert schema.role("class_weight_power") is record.param
    assert schema.details("class_weights") == ["class_weight_power"]
    assert "class_weight_power" in sections()["Fine-tuning and gradual pruning"]


def test_the_check_of_an_option_follows_from_its_type():
    records = of_command("prune")
    assert records["force"].check("true") is True
    assert records["weights"].check("a.safetensors") == Path("a.safetensors")
    assert records["dataset"].check("mnist") == "mnist"


def test_the_help_lists_the_names_that_an_option_accepts():
    assert ", ".join(PRUNERS) in of_command("prune")["pruner"].help


def test_a_command_may_have_another_default_of_an_option():
    shares = {name: of_command(name)["validation_fraction"].value for name in ("train", "prune", "iterate", "tune")}
    assert shares == {"train": 0.1, "prune": 0.1, "iterate": 0.2, "tune": 0.1}
    assert of_command("tune")["ratio"].value == (10.0,)
    assert of_command("prune")["ratio"].value is None


@pytest.mark.parametrize("command", ["prune", "iterate", "tune", "compress", "quantize"])
def test_every_command_that_trains_has_every_option_of_training(command):
    assert of_command("train").keys() - of_command(command).keys() <= {"seed", "force"}


def test_an_option_that_a_command_does_not_have_is_an_error():
    assert not hasattr(config.TuneConfig(), "sparsity")


def test_every_heading_has_options():
    assert {record.heading for record in OPTIONS} == set(table.HEADINGS)


@pytest.mark.parametrize(
    ("name", "several"),
    [("ratio", True), ("seed", True), ("setting", True), ("class_fractions", True), ("ramp", False)],
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


def test_the_analysis_knows_which_pruners_prune_by_layer_and_which_spare_groups():
    assert tuple(name for name, pruner in PRUNERS.items() if pruner.scope == "layer") == schema.BY_LAYER
    assert set(schema.MITIGATING_PRUNERS) <= PRUNERS.keys()


def test_the_help_imports_no_torch():
    code = (
        "import sys, pruning_study.__main__ as main; main.cli.commands['prune'].params; print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
