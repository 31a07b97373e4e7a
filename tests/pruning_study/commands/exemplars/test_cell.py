"""Which cell of a study is read, what its networks predict, and that the data set is theirs."""

import re

import numpy as np
import pytest

from analysis.common.errors import StudyError
from analysis.runs import study_archives
from pruning_study.commands.exemplars import cell
from pruning_study.options.config import ExemplarsConfig
from tests.made_up_populations import LABEL, export, predictions, write_data


@pytest.fixture
def data(tmp_path):
    return write_data(tmp_path / "made_up.npz")


def config(frames, data, **options):
    return ExemplarsConfig(frames=frames, dataset=options.pop("dataset", data), data_dir=data.parent, **options)


def refusal(config):
    with pytest.raises(StudyError) as caught:
        read = cell.read(config)
        cell.load_data(read, config)
    assert str(caught.value).isprintable()
    return str(caught.value)


def test_the_only_cell_is_read_with_the_images_in_the_order_of_the_data_set(tmp_path, data):
    options = config(export(tmp_path / "frames", data), data)
    read = cell.read(options)
    assert (read.name, read.notes) == ("made-up, lenet5, mp, ratio 10", [])
    sides = predictions()
    assert np.array_equal(read.label, LABEL)
    assert np.array_equal(read.dense, sides["dense"])
    assert np.array_equal(read.compressed, sides["compressed"])
    assert cell.load_data(read, options).classes == ("bag", "shirt", "coat")


def test_a_study_in_one_file_is_read_by_its_name_and_by_that_of_a_folder_above(tmp_path, data):
    with study_archives.packed(tmp_path / "above" / "study.zip") as folder:
        export(folder, data)
    for frames in (tmp_path / "above" / "study.zip", tmp_path):
        assert cell.read(config(frames, data)).name == "made-up, lenet5, mp, ratio 10"


def test_of_several_cells_the_options_choose_one_and_errors_list_what_there_is(tmp_path, data):
    cells = [
        {},
        {"pruner": "up"},
        {"ratio": 2.0},
        {"params.schedule": "cubic", "params.ramp": "0.5"},
        {"pruner": "none", "ratio": 1.0},
    ]
    frames = export(tmp_path / "frames", data, None, *[{"params.schedule": "one-shot"} | each for each in cells])
    assert refusal(config(frames, data)) == "4 cells fit, choose one: --pruner mp, up; --ratio 2, 10"
    assert refusal(config(frames, data, ratio="3")) == "no run has ratio 3, choose --ratio 1, 2, 10"
    two_left = "2 cells fit, choose one: --setting schedule= cubic, one-shot"
    assert refusal(config(frames, data, pruner="mp", ratio="10")) == two_left
    chosen = cell.read(config(frames, data, pruner="mp", ratio="10", setting="schedule=cubic"))
    assert chosen.name == "made-up, lenet5, mp, ratio 10, schedule cubic"
    assert cell.read(config(frames, data, pruner="none")).name == "made-up, lenet5, none, ratio 1"
    unknown = refusal(config(frames, data, setting="shedule=cubic"))
    assert unknown == "no run has a param 'shedule', did you mean schedule?"


def test_a_ratio_that_stands_for_a_sparsity_is_listed_with_all_digits_and_can_be_typed(tmp_path, data):
    ratio = 1000 / 116.12
    frames = export(tmp_path / "frames", data, None, {}, {"ratio": ratio})
    assert refusal(config(frames, data)) == f"2 cells fit, choose one: --ratio {ratio!r}, 10"
    assert cell.read(config(frames, data, ratio=repr(ratio))).name == "made-up, lenet5, mp, ratio 8.61178"


def test_a_network_pruned_while_it_is_trained_is_named_by_its_sparsity(tmp_path, data):
    params = {"params.start": "initialization", "params.sparsity": "0.9", "ratio": 9.8}
    frames = export(tmp_path / "frames", data, None, params)
    read = cell.read(config(frames, data, sparsity=".9"))
    assert read.name == "made-up, lenet5, mp, sparsity 0.9, start initialization"
    assert "no run has sparsity 0.5" in refusal(config(frames, data, sparsity="0.5"))


def test_networks_at_chance_count_and_their_number_is_said(tmp_path, data):
    sides = predictions(8)
    sides["compressed"][7] = 0
    read = cell.read(config(export(tmp_path / "frames", data, sides), data))
    assert len(read.dense) == len(read.compressed) == 8
    assert read.notes[0] == "1 of 8 pairs have a network at chance, but are not left out"


@pytest.mark.attack
def test_a_population_of_fewer_than_five_networks__has_no_exemplars_and_the_number_is_named(tmp_path, data):
    for networks, shown in ((1, "1 pair"), (4, "4 pairs")):
        sides = {side: each[:networks] for side, each in predictions().items()}
        said = refusal(config(export(tmp_path / f"frames {networks}", data, sides), data))
        assert f"ratio 10: {shown} of networks, but PIEs need 5 or more" in said


@pytest.mark.attack
def test_runs_without_predictions__have_no_exemplars_and_their_number_is_named(tmp_path, data):
    said = refusal(config(export(tmp_path / "frames", data, with_predictions=False), data))
    assert "0 pairs of networks (6 of 6 pairs of networks are left out because they lack" in said


@pytest.mark.attack
@pytest.mark.parametrize("wrong", ["labels", "pixels"])
def test_a_data_set_of_other_images_or_labels_than_those_of_the_runs__is_refused(tmp_path, data, wrong):
    frames = export(tmp_path / "frames", data)
    with np.load(data) as arrays:
        changed = dict(arrays)
    if wrong == "labels":
        changed["test_labels"] = np.roll(changed["test_labels"], 1)
    else:
        changed["test_images"][7, 3, 3] += 1
    np.savez(data, **changed)
    assert "made_up.npz: these are not the images of the runs" in refusal(config(frames, data))


@pytest.mark.attack
def test_labels_other_than_those_of_the_predictions__are_refused_without_a_digest_too(tmp_path, data):
    read = cell.read(config(export(tmp_path / "frames", data), data))
    foreign = read._replace(digest=None, label=np.roll(LABEL, 1))
    with pytest.raises(StudyError, match="these are not the images of the runs"):
        cell.load_data(foreign, config(None, data))


@pytest.mark.attack
def test_runs_that_name_a_path_as_their_data_set__make_nobody_read_it(tmp_path, data):
    read = cell.read(config(export(tmp_path / "frames", data), data))
    for path in ("../made_up.npz", "..", "."):
        with pytest.raises(StudyError, match=f"the runs name the path '{re.escape(path)}' as their data set"):
            cell.load_data(read._replace(dataset=path), config(None, data, dataset=None))
