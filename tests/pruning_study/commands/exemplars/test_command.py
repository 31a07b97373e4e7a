"""The commands `exemplars` and `tally`, from runs in a store or exported files to what an annotator is given."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from PIL import Image

from tests.made_up_populations import CLASSES, NETWORKS, export, predictions, study, write_data

FILES = ["gallery.png", "labelling_key.csv", "labelling_sheet.csv"]


@pytest.fixture
def data(store_uri, tmp_path):
    return write_data(tmp_path / "made_up.npz")


@pytest.mark.slow
def test_a_cell_of_exported_files_gives_a_gallery_and_a_sheet_that_can_be_tallied(tmp_path, data, run_command):
    frames = export(tmp_path / "study" / "frames", data)
    made = run_command("exemplars", "--frames", tmp_path / "study", "--dataset", data, "--images", 4)
    assert made.exit_code == 0, made.output
    assert "3 of 60 test images are PIEs: 6 dense and 6 compressed networks differ" in made.output
    assert "This prediction is right on 2 PIEs for dense and on 1 for compressed networks. 3 PIEs are" in made.output
    assert "two halves of at least 5, which takes 10 dense and 10 compressed networks" in made.output
    assert "labelling_sheet.csv, for annotators: 2 PIEs and as many other images" in made.output
    folder = tmp_path / "exemplars"
    assert sorted(path.name for path in folder.iterdir()) == [*FILES]
    assert Image.open(folder / "gallery.png").size[0] > 1000

    with (folder / "labelling_sheet.csv").open() as file:
        header, *rows = csv.reader(file)
    with (tmp_path / "anna.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *([*row[:4], *"110100"] for row in rows)])
    tallied = run_command("tally", tmp_path / "anna.csv", "--key", folder / "labelling_key.csv")
    assert tallied.exit_code == 0, tallied.output
    assert re.search(r"multiple objects +0\.0 +0\.0 .*multiple objects .* 39\.5, 59\.\d", tallied.output, re.DOTALL)
    assert frames.is_dir()


def test_ten_networks_a_side_tell_how_many_exemplars_chance_gives(tmp_path, data, run_command):
    export(tmp_path / "frames", data, predictions(10))
    made = run_command("exemplars", "--frames", tmp_path / "frames", "--dataset", data, "--images", 4)
    assert made.exit_code == 0, made.output
    assert re.search(
        r"comparing two halves of the dense networks gives \d+ PIEs \(\d+ untied\), and .* gives \d+ \(\d+ untied\)",
        made.output,
    )


def test_copies_of_one_dense_network_give_no_placebo(tmp_path, data, run_command):
    sides = predictions(10)
    sides["dense"][:] = sides["dense"][0]
    export(tmp_path / "frames", data, sides)
    made = run_command("exemplars", "--frames", tmp_path / "frames", "--dataset", data, "--images", 4)
    assert made.exit_code == 0, made.output
    assert "Chance gives PIEs too, but how many is unknown, because the dense networks are copies of one" in made.output


@pytest.mark.slow
def test_the_same_command_writes_the_same_files_and_another_seed_does_not_replace_them(tmp_path, data, run_command):
    export(tmp_path / "frames", data)
    options = ["exemplars", "--frames", tmp_path / "frames", "--dataset", data, "--images", 4]
    assert run_command(*options).exit_code == 0
    first = {name: (tmp_path / "exemplars" / name).read_bytes() for name in FILES}
    assert run_command(*options).exit_code == 0
    assert {name: (tmp_path / "exemplars" / name).read_bytes() for name in FILES} == first
    refused = run_command(*options, "--seed", 1)
    assert refused.exit_code == 2
    assert "belongs to another sheet, or has answers: name another folder" in refused.output
    assert {name: (tmp_path / "exemplars" / name).read_bytes() for name in FILES} == first


@pytest.mark.attack
def test_a_labelling_sheet_with_answers__is_not_overwritten(tmp_path, data, run_command):
    export(tmp_path / "frames", data)
    options = ["exemplars", "--frames", tmp_path / "frames", "--dataset", data, "--images", 4]
    assert run_command(*options).exit_code == 0
    sheet = tmp_path / "exemplars" / "labelling_sheet.csv"
    sheet.write_text(answered := sheet.read_text().replace(",,,,,,", ",1,1,0,1,0,0", 1))
    assert "has answers" in run_command(*options).output
    assert sheet.read_text() == answered


@pytest.mark.attack
def test_populations_that_agree_on_every_image__have_no_exemplars_and_that_is_said(tmp_path, data, run_command):
    dense = predictions()["dense"]
    export(tmp_path / "frames", data, {"dense": dense, "compressed": dense})
    made = run_command("exemplars", "--frames", tmp_path / "frames", "--dataset", data)
    assert made.exit_code == 1
    assert "no image is a PIE: dense and compressed networks have the same most frequent predictions" in made.output
    assert not (tmp_path / "exemplars").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--images", "5"], "5 is odd, but half of the images are exemplars"),
        (["--frames", "frames", "--study", "quick"], "it takes the place of --study"),
        (["--setting", "schedule"], "write name=value, such as schedule=cubic"),
        (["--setting", "a=1,a=2"], "a is given twice"),
        (["--frames", "nothing"], "nothing does not exist"),
    ],
)
def test_options_that_cannot_be_are_errors(store_uri, run_command, options, said):
    made = run_command("exemplars", *options)
    assert made.exit_code in (1, 2)
    assert said in made.output


@pytest.mark.slow
def test_a_cell_of_a_tracking_store(tmp_path, data, store_uri, run_command, request):
    runs, predicted = study(data, predictions())
    client = MlflowClient()
    experiment = client.create_experiment(request.node.name, artifact_location=(tmp_path / "artifacts").as_uri())
    for row in runs.to_dict("records"):
        dense = log(client, experiment, row, "before", predicted[row["dense_run_id"]])
        log(client, experiment, row, "after", predicted[row["run_id"]], dense_run_id=dense)
    made = run_command("exemplars", "--dataset", data, "--images", 4)
    assert made.exit_code == 0, made.output
    assert f"{NETWORKS} compressed networks differ in their most frequent prediction" in made.output
    assert sorted(path.name for path in (tmp_path / "exemplars").iterdir()) == [*FILES]


def log(client, experiment, row, side, arrays, **tags):
    """Log a dense run, which has what was measured before, or a pruned run, which has what was measured after."""
    kind, names = ("dense", ("dataset", "model", "seed")) if side == "before" else ("pruned", tuple(row)[:5])
    params = {name: row[name] for name in names}
    params |= {name.removeprefix("params."): value for name, value in row.items() if name.startswith("params.")}
    metrics = {"test_accuracy": row[f"accuracy_{side}"]}
    metrics |= {name: value for name, value in row.items() if name.startswith("support/")}
    start = f"recall_{side}/"
    metrics |= {f"recall/{name.removeprefix(start)}": value for name, value in row.items() if name.startswith(start)}
    run = client.create_run(experiment, tags={"kind": kind, "class_names": json.dumps(CLASSES), **tags}).info
    client.log_batch(
        run.run_id,
        [Metric(name, value, 1, 0) for name, value in metrics.items()],
        [Param(name, str(value)) for name, value in params.items()],
    )
    folder = Path(run.artifact_uri.removeprefix("file://"))
    folder.mkdir(parents=True)
    np.savez(folder / "predictions.npz", **arrays)
    client.set_terminated(run.run_id)
    return run.run_id
