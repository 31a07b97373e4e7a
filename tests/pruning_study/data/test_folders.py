import logging
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from analysis.common.errors import StudyError
from pruning_study.data import datasets, folders
from pruning_study.data.arrays import entropies
from pruning_study.options.config import IterateConfig, TrainConfig
from pruning_study.steps.loaded import load_context
from pruning_study.study.processes import SharedDataset
from tests.error_lines import refused
from tests.plans import planned


def load(folder, **arguments):
    return datasets.load(str(folder), data_dir=folder.parent / "data", **arguments)


def write(folder, counts, *, colour=False):
    """Write pictures of 12x12 pixels, all different: `counts` of them for each class."""
    folder.mkdir(parents=True, exist_ok=True)
    for label, (name, count) in enumerate(counts.items()):
        (folder / name).mkdir()
        for index in range(count):
            pixels = np.random.default_rng([len(str(folder)), label, index]).integers(0, 256, (12, 12, 3), np.uint8)
            Image.fromarray(pixels if colour else pixels[..., 0]).save(folder / name / f"{index:03}.png")


class TestValidation:
    @pytest.fixture
    def folder(self, tmp_path):
        for part, count in (("train", 6), ("val", 3), ("test", 2)):
            write(tmp_path / "pets" / part, {"cat": count, "dog": count})
        return tmp_path / "pets"

    def setting(self, folder, **options):
        return planned(TrainConfig(dataset=str(folder), engine="torch", **options))

    def test_images_are_those_of_the_folder_val_for_every_seed(self, folder):
        wanted = [np.asarray(Image.open(path)) for path in sorted(folder.glob("val/*/*.png"))]
        for seed in (0, 1):
            setting = self.setting(folder, seed=seed)
            assert (
                setting.context.data.train_images[setting.context.validation_indices, 0].tolist()
                == np.array(wanted).tolist()
            )
            assert setting.context.data.train_labels[setting.context.validation_indices].tolist() == [0, 0, 0, 1, 1, 1]
            assert setting.context.train_indices.tolist() == list(range(12))
        assert "validation_fraction" not in setting.params

    @pytest.mark.parametrize(
        ("config", "own", "other"),
        [(TrainConfig, 0.1, 0.2), (IterateConfig, 0.2, 0.1)],
    )
    def test_a_fraction_beside_them_is_a_usage_error(self, folder, config, own, other):
        load_context(config(dataset=str(folder), validation_fraction=own))
        with refused("validation_fraction", "has its own validation images: leave"):
            load_context(config(dataset=str(folder), validation_fraction=other))

    def test_test_images_that_are_also_training_or_validation_images_are_counted(self, folder, caplog):
        """The copies have other names, and one is another kind of file."""
        assert load(folder).known_test_images == 0
        for part, name in (("train", "copy.png"), ("val", "copy.bmp")):
            Image.open(folder / part / "cat" / "000.png").save(folder / "test" / "cat" / f"{part} {name}")
        self.setting(folder)
        assert [line for line in caplog.messages if "test images" in line] == [
            f"{folder}: 2 of 6 test images are also training or validation images, so accuracies and losses on new "
            "images may be worse than those measured here: keep one copy of each image"
        ]

    def test_which_images_they_are_is_part_of_the_digest(self, folder):
        before = load(folder).digest
        for path in (folder / "val").iterdir():
            for image in path.iterdir():
                image.rename(folder / "train" / path.name / f"9{image.name}")
            path.rmdir()
        (folder / "val").rmdir()
        assert load(folder).digest != before

    def test_workers_of_a_study_have_them_too(self, folder):
        data = load(folder)
        there = SharedDataset(data)()
        assert there.validation_indices.tolist() == data.validation_indices.tolist()
        assert there.digest == data.digest

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (
                lambda folder: (folder / "val" / "dog").rename(folder / "val" / "dogs"),
                "no folder for class dogs, which another part has",
            ),
        ],
    )
    def test_that_cannot_be_used_is_one_line(self, folder, change, message):
        change(folder)
        with pytest.raises(StudyError, match=message):
            load(folder)

    def test_without_test_images_says_that_val_is_not_for_testing(self, folder):
        for path in sorted((folder / "test").rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
        (folder / "test").rmdir()
        with pytest.raises(StudyError, match=r"pets/test: no such folder exists; .* val holds images for validation"):
            load(folder)


class TestOneFolderOfClasses:
    @pytest.fixture
    def folder(self, tmp_path):
        write(tmp_path / "pets", {"cat": 20, "dog": 10, "val": 5})
        return tmp_path / "pets"

    def test_a_fifth_of_each_class_is_held_out_for_testing(self, folder):
        data = load(folder)
        assert data.classes == ("cat", "dog", "val")
        assert np.bincount(data.test_labels).tolist() == [4, 2, 1]
        assert np.bincount(data.train_labels).tolist() == [16, 8, 4]
        assert np.bincount(load(folder, test_fraction=0.5).test_labels).tolist() == [10, 5, 2]

    def test_every_image_is_in_one_part(self, folder):
        data = load(folder)
        images = {tuple(image.flatten()) for image in (*data.train_images, *data.test_images)}
        assert images == {tuple(np.asarray(Image.open(path)).flatten()) for path in folder.glob("*/*.png")}

    def test_all_seeds_test_on_the_same_images_and_validate_on_others(self, folder):
        first, second = (planned(TrainConfig(dataset=str(folder), seed=seed)) for seed in (0, 1))
        assert first.context.data.digest == second.context.data.digest
        assert first.context.validation_indices.tolist() != second.context.validation_indices.tolist()

    def test_the_fraction_is_a_param_of_such_data_alone(self, folder, tiny_npz):
        assert planned(TrainConfig(dataset=str(folder))).params["test_fraction"] == "0.2"
        assert "test_fraction" not in planned(TrainConfig(dataset=str(tiny_npz))).params

    def test_data_with_test_images_take_no_fraction(self, folder, tiny_npz):
        for part in ("train", "test"):
            write(folder.parent / "parts" / part, {"cat": 2, "dog": 2})
        for dataset in (folder.parent / "parts", tiny_npz, Path("fashion-mnist-mini")):
            with refused("test_fraction", "has test images of its own"):
                datasets.load(str(dataset), data_dir=folder, test_fraction=0.2)

    def test_a_class_with_two_images_is_too_small(self, folder):
        write(folder, {"emu": 2})
        with pytest.raises(StudyError, match="train data have 1 image of class emu"):
            load(folder)


class TestFilesOfAClass:
    @pytest.fixture
    def folder(self, tmp_path):
        write(tmp_path / "pets", {"cat": 3, "dog": 3})
        return tmp_path / "pets"

    @pytest.mark.parametrize(
        "ending", [".PNG", ".gif", ".bmp", ".webp", ".tif", ".TIFF", ".pbm", ".pgm", ".ppm", ".PNM"]
    )
    def test_images_of_every_lossless_format_have_their_pixels(self, folder, ending):
        pixels = np.where(np.arange(144).reshape(12, 12) % 5, 255, 0).astype(np.uint8)
        picture = Image.fromarray(pixels).convert("1" if ending == ".pbm" else "L")
        for name in ("cat", "dog"):
            for path in (folder / name).iterdir():
                path.unlink()
            for index in range(3):
                picture.save(folder / name / f"{index}{ending}", **({"lossless": True} if ending == ".webp" else {}))
        data = load(folder)
        assert len(data.train_images) + len(data.test_images) == 6
        for image in (*data.train_images, *data.test_images):
            assert all(channel.tolist() == pixels.tolist() for channel in image)

    def test_a_photograph_as_jpeg_is_read_under_either_ending(self, folder):
        for ending in (".jpg", ".JPEG"):
            Image.new("L", (12, 12), 70).save(folder / "cat" / f"9{ending}", "JPEG", quality=100)
        assert len(load(folder).train_images) + len(load(folder).test_images) == 8

    def test_what_is_left_out_is_counted_in_one_line_for_each_class(self, folder, caplog):
        (folder / "cat" / "deeper").mkdir()
        (folder / "cat" / "deeper" / "4.png").touch()
        for path in ("cat/labels.txt", "cat/4.png.part", "cat/none", "dog/4.heic"):
            (folder / path).touch()
        data = load(folder)
        assert len(data.train_images) + len(data.test_images) == 6
        assert [(record.levelname, record.args[:2]) for record in caplog.records] == [
            ("WARNING", (folder / "cat", 4)),
            ("WARNING", (folder / "dog", 1)),
        ]

    def test_hidden_files_and_those_of_the_system_go_without_a_word(self, folder, caplog):
        for name in (".DS_Store", "._000.png", ".ipynb_checkpoints", "Thumbs.db", "desktop.ini"):
            (folder / "cat" / name).touch()
        data = load(folder)
        assert len(data.train_images) + len(data.test_images) == 6
        assert caplog.records == []

    def test_a_class_of_deeper_folders_alone_is_one_line(self, folder):
        (folder / "emu" / "2019").mkdir(parents=True)
        (folder / "emu" / "list.txt").touch()
        with pytest.raises(StudyError, match=r"emu: no image .* in it; put images") as error:
            load(folder)
        assert "\n" not in str(error.value)


class TestMapped:
    """What more than a gibibyte does, with a lower limit."""

    @pytest.fixture
    def folder(self, tmp_path, monkeypatch):
        monkeypatch.setattr(folders, "MAPPED_FROM", 1000)
        for part in ("train", "test"):
            write(tmp_path / "pets" / part, {"cat": 4, "dog": 4})
        return tmp_path / "pets"

    def test_images_are_those_that_are_read_into_memory(self, folder, monkeypatch):
        mapped = load(folder)
        monkeypatch.setattr(folders, "MAPPED_FROM", 2**30)
        read = load(folder)
        assert isinstance(mapped.train_images, np.memmap)
        assert not isinstance(read.train_images, np.memmap)
        assert np.array_equal(mapped.train_images, read.train_images)
        assert mapped.digest == read.digest

    def test_images_are_decoded_once_and_again_when_one_changes(self, folder, caplog):
        caplog.set_level(logging.WARNING)
        first, again = load(folder), load(folder)
        assert len(caplog.messages) == 1
        assert re.fullmatch(r"16 images are decoded once, into .*data/decoded/pets-\w+\.npy; .*", caplog.messages[0])
        Image.new("L", (12, 12)).save(folder / "train" / "cat" / "000.png")
        changed = load(folder)
        assert len(caplog.messages) == 2
        assert first.digest == again.digest != changed.digest
        assert not changed.train_images[0].any()

    def test_an_image_of_the_same_size_and_time_is_another_image(self, folder):
        one, other = folder / "train" / "cat" / "000.png", folder / "train" / "cat" / "001.png"
        for path, colour in ((one, 3), (other, 5)):
            Image.new("L", (12, 12), colour).save(path)
        before, state = load(folder), one.stat()
        assert other.stat().st_size == state.st_size
        one.write_bytes(other.read_bytes())
        os.utime(one, ns=(state.st_atime_ns, state.st_mtime_ns))
        after = load(folder)
        assert [data.train_images[0].max() for data in (before, after)] == [3, 5]
        os.utime(one)
        assert load(folder).digest == after.digest
        assert len(list((folder.parent / "data" / "decoded").iterdir())) == 2  # a time alone changes nothing

    def test_a_coloured_picture_after_grey_ones_makes_all_of_them_rgb(self, folder):
        Image.new("RGB", (12, 12), (9, 8, 7)).save(folder / "test" / "dog" / "z.png")
        data = load(folder)
        assert data.image_shape == (3, 12, 12)
        assert data.test_images[-1, :, 0, 0].tolist() == [9, 8, 7]
        assert np.array_equal(data.train_images[:, 0], data.train_images[:, 2])

    def test_entropies_are_those_before_resizing__also_when_their_file_is_lost(self, folder, monkeypatch):
        expected = entropies(load(folder).train_images).tolist()
        first = load(folder, image_size=20)
        assert isinstance(first.train_images, np.memmap)
        (file,) = (folder.parent / "data" / "decoded").glob("*.entropies.npy")
        read = load(folder, image_size=20)
        file.unlink()
        made_again = load(folder, image_size=20)
        monkeypatch.setattr(folders, "MAPPED_FROM", 2**30)
        in_memory = load(folder, image_size=20)
        assert all(data.train_entropies.tolist() == expected for data in (first, read, made_again, in_memory))
        assert SharedDataset(first)().train_entropies.tolist() == expected

    def test_a_file_of_no_entropies_is_named(self, folder):
        load(folder, image_size=20)
        (file,) = (folder.parent / "data" / "decoded").glob("*.entropies.npy")
        file.write_bytes(b"no array")
        with pytest.raises(StudyError, match=r"entropies.npy: this file holds no entropies .*: delete the file"):
            load(folder, image_size=20)

    def test_images_that_are_only_predicted_have_no_entropies(self, folder):
        decoded = folder.parent / "data" / "decoded" / "pets"
        classes = ("cat", "dog")
        folders.read_labelled(folder / "test", classes, 20, decoded=decoded)
        assert [file.suffixes for file in decoded.parent.iterdir()] == [[".npy"]]

    def test_workers_map_the_same_file(self, folder):
        data = load(folder)
        there = SharedDataset(data)()
        assert isinstance(there.test_images, np.memmap)
        assert there.digest == data.digest

    def test_a_file_that_is_cut_off_is_named(self, folder):
        load(folder)
        (file,) = (folder.parent / "data" / "decoded").iterdir()
        content = file.read_bytes()
        file.write_bytes(content[:500])
        with pytest.raises(StudyError, match=r"pets-\w+\.npy: this file holds no decoded images .*: delete the file"):
            load(folder)

    def test_a_folder_that_cannot_be_written_is_one_line(self, folder):
        (folder.parent / "data").write_text("in the way")
        with refused("data_dir", "the decoded images cannot be written"):
            load(folder)


def test_the_first_damaged_image_of_a_folder_is_named(tmp_path):
    for part in ("train", "test"):
        write(tmp_path / "pets" / part, {"cat": 4, "dog": 4})
    damaged = [tmp_path / "pets" / "train" / "cat" / "000.png", tmp_path / "pets" / "test" / "dog" / "003.png"]
    damaged[0].write_bytes(damaged[0].read_bytes()[:90])
    with pytest.raises(StudyError, match=r"000\.png: this is not a complete image"):
        load(tmp_path / "pets")
