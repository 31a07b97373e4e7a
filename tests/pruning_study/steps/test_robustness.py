"""What networks have right on corrupted images and on a folder: by hand, found again, and refused in one line."""

import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from PIL import Image

import pruning_study
from analysis.common.errors import StudyError
from analysis.runs import pull, robustness, schema
from analysis.study.study import StudyData
from pruning_study.steps import alike_networks
from pruning_study.steps import robustness as steps_robustness
from tests.stored_runs import artifact, runs


def prune(run_command, data, *arguments):
    """Train and prune a network."""
    quick = ("--epochs", 1, "--fine-tune-epochs", 0, "--batch-size", 32, "--ratio", 4)
    result = run_command("prune", "--dataset", data, *quick, *arguments)
    assert result.exit_code == 0, result.output


@pytest.fixture
def trained(run_command, tiny_npz, store_uri):
    """Return a function that trains and prunes a network on images of a size."""
    return lambda *arguments: prune(run_command, tiny_npz, *arguments)


@pytest.fixture(scope="module")
def shared_runs(run_command, shared_store):
    """Return a client, and the run ids of a job, a dense and a pruned run that the tests share."""
    store, data = shared_store
    prune(run_command, data)
    return store.client, {run.info.run_id for run in runs()}


@pytest.fixture
def unmeasured(shared_runs):
    """Leave the shared runs as they were: remove what a test measures, and runs that it makes."""
    client, run_ids = shared_runs
    yield
    for run in runs():
        if run.info.run_id not in run_ids:
            client.delete_run(run.info.run_id)
        elif schema.CORRUPTED in run.data.tags:
            client.delete_tag(run.info.run_id, schema.CORRUPTED)
            artifact(run, "corruptions.csv").unlink()


@pytest.fixture
def measure(run_command, tiny_npz, tmp_path):
    def run(*arguments, code=0):
        result = run_command("robustness", "--data-dir", tmp_path / "data", *arguments)
        assert result.exit_code == code, result.output
        return result.output

    return run


def table_of(run):
    return robustness.TABLE.parse(artifact(run, "corruptions.csv").read_bytes(), "it")


def counts_by_hand(run, images, labels):
    """Return right and right_top5 of each label that has images, by the model that the public function loads."""
    with torch.no_grad():
        order = pruning_study.load_model(run.info.run_id)(torch.from_numpy(images)).argsort(1, descending=True)
    right = order[:, :5].numpy() == labels[:, None]
    return [[int(right[labels == label, :k].sum()) for label in np.unique(labels)] for k in (1, 5)]


def write_pictures(folder, images, labels, names):
    for place, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = folder / names[label] / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)


class TestFolder:
    @pytest.fixture(autouse=True)
    def pictures(self, unmeasured, tiny, tmp_path):
        chosen = np.flatnonzero(np.isin(tiny["test_labels"], (2, 5)))
        self.images, self.labels = tiny["test_images"][chosen].reshape(-1, 28, 28), tiny["test_labels"][chosen]
        self.names = tiny["class_names"]
        write_pictures(tmp_path / "hard_photos", self.images, self.labels, self.names)

    def test_counts_of_some_classes_are_those_by_hand(self, measure, tmp_path):
        output = measure("--folder", tmp_path / "hard_photos")
        assert "2 runs measured" in output
        for run in (*runs("dense"), *runs("pruned")):
            table = table_of(run)
            assert table["class"].tolist() == sorted(self.names[[2, 5]], key=list(self.names).index)
            assert set(table["corruption"]) == {"hard-photos"}
            assert table["severity"].tolist() == [0, 0]
            assert table["support"].tolist() == [20, 20]
            order = [np.flatnonzero(self.labels == label) for label in (2, 5)]
            images = self.images[np.concatenate(order)][:, None]
            by_hand = counts_by_hand(run, images, np.repeat([2, 5], 20))
            assert table[["right", "right_top5"]].to_numpy().T.tolist() == by_hand

    def test_counts_are_found_until_an_image_changes(self, measure, tmp_path):
        measure("--folder", tmp_path / "hard_photos")
        assert "2 of them by an earlier command (--force measures again)" in measure(
            "--folder", tmp_path / "hard_photos"
        )
        assert "before" not in measure("--folder", tmp_path / "hard_photos", "--force")
        next((tmp_path / "hard_photos" / self.names[2]).iterdir()).unlink()
        assert "before" not in measure(runs("pruned")[0].info.run_id, "--folder", tmp_path / "hard_photos")
        assert table_of(runs("pruned")[0])["support"].sum() == 39
        assert table_of(runs("dense")[0])["support"].sum() == 40

    def test_pull_reads_them_and_a_coloured_picture_becomes_grey(self, measure, tmp_path):
        path = next((tmp_path / "hard_photos" / self.names[5]).iterdir())
        Image.open(path).convert("RGB").save(path)
        measure("--folder", tmp_path / "hard_photos")
        pulled = pull.pull_runs()
        found = StudyData.from_store().corrupted
        assert set(found["run_id"]) == {pulled["run_id"][0], pulled["dense_run_id"][0]}
        assert found["support"].sum() == 80

    def test_the_table_compares_only_conditions_that_all_networks_have_on_the_same_images(self, measure, tmp_path):
        client = MlflowClient()
        counts_of = {
            "dense": "none,0,a,4,4,4,x\nfog,1,a,4,4,4,x\nfog,5,a,4,2,4,x\ncontrast,5,a,4,1,4,x\npixelate,5,a,4,4,4,x\n",
            "pruned": "none,0,a,4,3,4,x\nfog,5,a,4,2,4,x\ncontrast,5,a,4,1,4,x\npixelate,5,a,2,2,2,y\n",
        }
        for kind, rows in counts_of.items():
            (run,) = runs(kind)
            (tmp_path / "corruptions.csv").write_text(
                f"corruption,severity,class,support,right,right_top5,measured\n{rows}"
            )
            client.log_artifact(run.info.run_id, str(tmp_path / "corruptions.csv"))
            client.set_tag(run.info.run_id, schema.CORRUPTED, "x")
        output = measure("--folder", tmp_path / "hard_photos")
        for start, clean in (("dense ", "1.000"), ("4x mp ", "0.750")):
            (cells,) = [line.split() for line in output.splitlines() if line.startswith(start)]
            assert cells[-5] == clean
            assert cells[-3:] == ["0.375", "0.250", "(contrast)"]  # fog 2 of 4, contrast 1 of 4
        assert "The table leaves out fog (severity 1) and pixelate (severity 5)," in " ".join(output.split())

    def test_counts_that_another_process_sends_meanwhile_stay(self, measure, tmp_path, monkeypatch):
        (dense,), count = runs("dense"), steps_robustness.count_right

        def other_process_first(*arguments):
            table = "corruption,severity,class,support,right,right_top5,measured\nother,0,a,4,3,4,y\n"
            (tmp_path / "corruptions.csv").write_text(table)
            MlflowClient().log_artifact(dense.info.run_id, str(tmp_path / "corruptions.csv"))
            MlflowClient().set_tag(dense.info.run_id, schema.CORRUPTED, "y")
            return count(*arguments)

        monkeypatch.setattr(steps_robustness, "count_right", other_process_first)
        measure(dense.info.run_id, "--folder", tmp_path / "hard_photos")
        assert set(table_of(dense)["corruption"]) == {"hard-photos", "other"}

    @pytest.mark.attack
    def test_damaged_counts_of_a_run__are_measured_anew_and_left_out_of_a_report(self, measure, tmp_path, caplog):
        measure("--folder", tmp_path / "hard_photos")
        path = artifact(runs("pruned")[0], "corruptions.csv")
        sound = path.read_bytes()
        path.write_bytes(sound[: len(sound) // 2])
        assert set(StudyData.from_store().corrupted["run_id"]) == {runs("dense")[0].info.run_id}
        assert "1 of them by an earlier command" in measure("--folder", tmp_path / "hard_photos")
        assert "the run is measured again" in caplog.text
        assert path.read_bytes() == sound

    @pytest.mark.attack
    def test_a_folder_of_an_unknown_class__one_line_names_the_nearest_one(self, measure, tmp_path):
        (tmp_path / "hard_photos" / self.names[2]).rename(tmp_path / "hard_photos" / f"{self.names[2]}s")
        output = measure("--folder", tmp_path / "hard_photos", code=2)
        assert f"is no class of the networks\ntip: did you mean {self.names[2]}?" in output

    def test_bad_folders_and_runs_are_refused_in_one_line(self, measure, tmp_path):
        assert "no such folder exists" in measure("--folder", tmp_path / "missing", code=2)
        (tmp_path / "empty").mkdir()
        assert "it contains no folders" in measure("--folder", tmp_path / "empty", code=2)
        (tmp_path / "hard_photos").rename(tmp_path / "fog")
        assert "fog is a name used for corruptions: rename the folder" in measure("--folder", tmp_path / "fog", code=2)
        job = runs("job")[0].info.run_id
        refused = measure(job, "--folder", tmp_path / "empty", code=1)  # a folder needs no extra
        assert "is not a finished dense, pruned or quantized run (kind job" in refused
        assert "it applies to test images only" in measure("--folder", tmp_path, "--images", 5, code=2)
        assert "did you mean contrast?" in measure("--corruptions", "contrst", code=2)
        assert "6 is above 5" in measure("--severities", "1,6", code=2)
        assert "fog is given twice" in measure("--corruptions", "fog,fog", code=2)


def made(run_id, name="dense s0 lenet5 mnist", kind="dense", **params):
    """Return a run; the later its id in the alphabet, the newer it is."""
    return SimpleNamespace(
        info=SimpleNamespace(run_id=run_id, run_name=name, start_time=ord(run_id)),
        data=SimpleNamespace(tags={"kind": kind}, params={"seed": "0", "dataset": "mnist", **params}),
    )


class TestRows:
    def test_a_row_has_the_newest_run_of_each_seed(self):
        other = {"name": "dense s1 lenet5 mnist", "seed": "1"}
        runs = [made("c", epochs="2"), made("a", epochs="2"), made("b", epochs="2", **other), made("d", epochs="3")]
        assert [run.info.run_id for run in alike_networks.newest_runs(runs)] == ["c", "b", "d"]

    def test_networks_made_in_one_way_share_a_row_that_has_their_name(self):
        pruned = {"kind": "pruned", "ratio": "4.0"}
        runs = [
            made("a"),
            made("b", "dense s1 lenet5 mnist", seed="1"),
            made("c", "dense s0 lenet5 mnist", weights_digest="ab"),  # given weights are another network, as a seed is
            made("d", "4x s0 mp lenet5 mnist", **pruned),
            made("e", "4x s1 mp lenet5 mnist", seed="1", fine_tune_decay="none", **pruned),  # what older runs had
        ]
        assert alike_networks.row_names(runs) == {
            **dict.fromkeys("abc", "dense lenet5 mnist"),
            **dict.fromkeys("de", "4x mp lenet5 mnist"),
        }

    def test_names_tell_the_rows_apart_by_what_differs(self):
        """The phases follow from the epochs, and each change of the recipe comes with a change of the epochs."""
        runs = [
            made("a", epochs="1", recipe="good", phases="1x0.1"),
            made("b", epochs="3", recipe="good", phases="3x0.1"),
            made("c", epochs="3", recipe="good", phases="3x0.1", decay="cosine"),
            made("d", "4x s0 mp lenet5 mnist", "pruned", epochs="1"),
        ]
        assert alike_networks.row_names(runs) == {
            "a": "dense lenet5 mnist (epochs 1, decay none)",
            "b": "dense lenet5 mnist (epochs 3, decay none)",
            "c": "dense lenet5 mnist (epochs 3, decay cosine)",
            "d": "4x mp lenet5 mnist",
        }

    def test_runs_of_one_name_and_of_different_kinds_have_different_rows(self):
        runs = [made("a", "mine"), made("b", "mine", "pruned")]
        assert set(alike_networks.row_names(runs).values()) == {"mine (kind dense)", "mine (kind pruned)"}


def test_the_table_has_a_row_for_each_setting_and_does_not_count_older_runs_of_a_seed(trained, measure, tiny, tmp_path):
    """The runs are dense ones, of 1, 1, 2 and 2 epochs, and the networks pruned from them."""
    for arguments in ((), ("--force",), ("--epochs", 2), ("--epochs", 2, "--force")):
        trained("--control", "none", *arguments)
    images, shirts = tiny["test_images"].reshape(-1, 28, 28), np.flatnonzero(tiny["test_labels"] == 6)
    write_pictures(tmp_path / "photos", images[shirts], tiny["test_labels"][shirts], tiny["class_names"])
    output = measure("--folder", tmp_path / "photos")
    lines = output.splitlines()
    for kind, start in (("dense", "dense "), ("pruned", "4x mp ")):
        assert sum(line.startswith(start) for line in lines) == 2
        older = [run.info.run_id for run in runs(kind)[:3:2]]
        assert all(run_id in output for run_id in older)
    assert "(epochs 1)" in output
    assert "8 runs measured" in output
    assert "The table does not count 4 runs with the settings and seed of a newer run" in " ".join(output.split())


def test_images_of_four_channels_are_refused_in_one_line(tmp_path):
    run = SimpleNamespace(info=SimpleNamespace(run_id="a"), data=SimpleNamespace(params={"image_shape": "4x8x8"}))
    config = SimpleNamespace(folder=tmp_path)
    with pytest.raises(StudyError, match="run a has images of 4x8x8, but pictures are square and have one or three"):
        steps_robustness._folder_images(None, run, config)


def test_measuring_keeps_no_memory_from_one_test_to_the_next(monkeypatch):
    """What a test would keep lies among the activations of the next one, so that malloc takes gigabytes for them."""
    held = []

    def logits(images):
        held.append(tracemalloc.get_traced_memory()[0])
        return torch.eye(10).repeat(4, 1)

    def network(store, run, config):
        return steps_robustness.NetworkLogits(run.info.run_id, tuple("abcdefghij"), logits)

    monkeypatch.setattr(steps_robustness, "load_network", network)
    monkeypatch.setattr(steps_robustness, "send", lambda store, config, run_id, table, tests: table)
    labels, images = np.tile(np.arange(10), 4), np.zeros((40, 1, 8, 8), np.uint8)
    tests = [steps_robustness.ConditionImages("fog", place, "x", labels, lambda: images) for place in range(50)]
    measured = [SimpleNamespace(info=SimpleNamespace(run_id=name)) for name in "abcd"]
    known = dict.fromkeys("abcd", robustness.TABLE.nothing().drop(columns="run_id"))
    tracemalloc.start()
    try:
        tables = dict(steps_robustness.measure_in_turn(None, None, measured, tests, known))
    finally:
        tracemalloc.stop()
    assert [len(table) for table in tables.values()] == [500] * 4
    assert all((table["right"] == 4).all() and (table["support"] == 4).all() for table in tables.values())
    assert len(held) == 200
    assert max(held[20:]) - held[20] < 20_000  # bytes; a table of each test would take 1,300,000


@pytest.mark.corruptions
class TestCorruptedImages:
    options = ("--corruptions", "contrast,fog", "--severities", "1,5", "--images", 50)

    def test_a_sample_is_measured_as_it_is_and_corrupted(self, trained, measure, tiny_npz, tmp_path):
        trained("--image-size", 32)
        output = measure("--dataset", tiny_npz, *self.options)
        assert all(words in output for words in ("mean of", "corruptions", "worst corruption"))
        (dense,) = runs("dense")
        table = table_of(dense)
        keys = table[["corruption", "severity"]].drop_duplicates().to_numpy().tolist()
        assert keys == [["none", 0], ["contrast", 1], ["contrast", 5], ["fog", 1], ["fog", 5]]
        assert table.groupby(["corruption", "severity"])["support"].sum().tolist() == [50] * 5
        (file,) = (tmp_path / "data" / "corrupted").rglob("fog-5.npy")
        fog = table[table["corruption"].eq("fog") & table["severity"].eq(5)]
        labels = np.repeat(np.arange(10), 5)
        images = np.load(file)
        test_labels = np.load(tiny_npz)["test_labels"]
        from pruning_study.data.corruptions import chosen

        drawn = test_labels[chosen(test_labels, 50)]
        assert np.bincount(drawn).tolist() == np.bincount(labels).tolist()
        assert fog[["right", "right_top5"]].to_numpy().T.tolist() == counts_by_hand(dense, images, drawn)

    def test_what_is_there_is_found_and_what_is_missing_is_added(self, trained, measure, tiny_npz):
        trained("--image-size", 32)
        measure("--dataset", tiny_npz, *self.options)
        before = table_of(runs("dense")[0])
        assert "2 of them by an earlier command (--force measures again)" in measure(
            "--dataset", tiny_npz, *self.options
        )
        measure("--dataset", tiny_npz, "--corruptions", "pixelate", "--severities", 2, "--images", 50)
        after = table_of(runs("dense")[0])
        assert after.iloc[: len(before)].equals(before)
        assert set(after["corruption"]) == {"none", "contrast", "fog", "pixelate"}

    def test_counts_on_another_sample_are_deleted_only_if_they_are_measured_again_or_by_force(
        self, trained, measure, tiny_npz
    ):
        def is_measured_on(images):
            table = table_of(runs("dense")[0])
            return table.groupby(["corruption", "severity"])["support"].sum().eq(images)

        trained("--image-size", 32)
        sample = ("--dataset", tiny_npz, "--images")
        measure(*sample, 50, "--corruptions", "contrast,fog", "--severities", "1,5")
        refused = measure(*sample, 40, "--corruptions", "fog", "--severities", 5, code=2)
        assert "was measured on 50 test images under contrast (severity 1, 5) and fog (severity 1)" in refused
        assert "give --images 50, or --force to delete" in refused
        assert is_measured_on(50).all()
        assert len(is_measured_on(50)) == 5
        measure(*sample, 40, "--corruptions", "contrast,fog", "--severities", "1,3,5")
        assert is_measured_on(40).all()
        measure(*sample, 30, "--corruptions", "fog", "--severities", 5, "--force")
        assert is_measured_on(30).to_dict() == {("fog", 5): True, ("none", 0): True}

    @pytest.mark.attack
    def test_images_too_small_to_corrupt__one_line_says_how_to_train(self, trained, measure, tiny_npz):
        trained()
        output = measure("--dataset", tiny_npz, code=1)
        assert "28x28 pixels, and corruptions need 32x32 or more: train networks with --image-size 32" in output

    @pytest.mark.attack
    def test_another_data_set_of_the_same_name__is_refused_in_one_line(
        self, trained, measure, tiny, tiny_npz, tmp_path
    ):
        trained("--image-size", 32)
        np.savez(tiny_npz, **{**tiny, "test_images": 255 - tiny["test_images"]})
        assert "does not hold the images of run" in measure("--dataset", tiny_npz, code=2)
        tiny_npz.unlink()
        assert "'tiny' is no data set" in measure(code=2)
