import pickle
import re
import struct
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image

from analysis.common.errors import StudyError
from pruning_study.data import datasets, labels
from pruning_study.data.groups import groups
from tests.error_lines import refused


def save(path, arrays, **changes):
    np.savez(path, **{key: value for key, value in {**arrays, **changes}.items() if value is not None})
    return str(path)


def load(dataset, tmp_path, **arguments):
    return datasets.load(str(dataset), data_dir=tmp_path / "data", **arguments)


class TestEmbedded:
    def test_is_600_training_and_100_test_images_of_each_class(self, tmp_path):
        data = load("fashion-mnist-mini", tmp_path)
        assert data.train_images.shape == (6000, 1, 28, 28)
        assert data.test_images.shape == (1000, 1, 28, 28)
        assert np.bincount(data.train_labels).tolist() == [600] * 10
        assert np.bincount(data.test_labels).tolist() == [100] * 10
        assert (data.train_images.dtype, data.train_labels.dtype) == (np.uint8, np.int64)
        assert data.classes[0] == "T-shirt/top"
        assert data.classes[9] == "Ankle boot"

    def test_is_fashion_mnist(self, tmp_path):
        # The first training images of Fashion-MNIST are an ankle boot and a T-shirt; mean pixel .286 of the whole.
        data = load("fashion-mnist-mini", tmp_path)
        assert data.train_labels[:2].tolist() == [9, 0]
        assert data.train_images.mean() / 255 == pytest.approx(0.286, abs=0.004)
        assert data.train_images[0, 0, 3, 12:15].tolist() == [1, 0, 0]


class TestNpz:
    def test_by_path_and_by_name(self, tiny, tmp_path):
        (tmp_path / "data").mkdir()
        save(tmp_path / "data" / "my_set.npz", tiny)
        by_name = load("my-set", tmp_path)
        by_path = load(tmp_path / "data" / "my_set.npz", tmp_path)
        assert by_name.name == by_path.name == "my-set"
        assert by_name.digest == by_path.digest
        assert np.array_equal(by_name.train_images[:, 0], tiny["train_images"][..., 0])

    @pytest.mark.parametrize("file", ["my-set.npz", "my_own-set.npz"])
    def test_the_name_that_runs_log_finds_every_file_of_the_data_folder(self, tiny, tmp_path, file):
        """The name was refused, with the same name as the hint."""
        (tmp_path / "data").mkdir()
        name = load(save(tmp_path / "data" / file, tiny), tmp_path).name
        assert load(name, tmp_path).source == str(tmp_path / "data" / file)

    def test_grey_images_without_a_channel_axis(self, tiny, tmp_path):
        changes = {f"{part}_images": tiny[f"{part}_images"][..., 0] for part in ("train", "test")}
        path = save(tmp_path / "a.npz", tiny, **changes)
        assert load(path, tmp_path).image_shape == (1, 28, 28)

    def test_class_names_may_be_left_out(self, tiny, tmp_path):
        assert load(save(tmp_path / "a.npz", tiny, class_names=None), tmp_path).classes == tuple("0123456789")

    def test_class_names_as_bytes(self, tiny, tmp_path):
        names = np.array([f"klasse {i}".encode() for i in range(10)])
        assert load(save(tmp_path / "a.npz", tiny, class_names=names), tmp_path).classes[3] == "klasse 3"

    def test_digest_is_of_the_content(self, tiny, tmp_path):
        images = tiny["train_images"].copy()
        first = load(save(tmp_path / "a.npz", tiny), tmp_path).digest
        assert load(save(tmp_path / "b.npz", tiny), tmp_path).digest == first
        images[7, 3, 3, 0] ^= 1
        assert load(save(tmp_path / "c.npz", tiny, train_images=images), tmp_path).digest != first
        assert load(save(tmp_path / "d.npz", tiny, class_names=tiny["class_names"][::-1]), tmp_path).digest != first

    def test_image_size_resizes(self, tiny, tmp_path):
        assert load(save(tmp_path / "a.npz", tiny), tmp_path, image_size=16).image_shape == (1, 16, 16)

    def test_images_of_four_channels_that_have_the_size_already_stay_as_they_are(self, tiny, tmp_path):
        """`--dense-run-id` asks for the size that the run's images had."""
        four = {f"{part}_images": tiny[f"{part}_images"].repeat(4, axis=-1) for part in ("train", "test")}
        path = save(tmp_path / "a.npz", tiny, **four)
        data = load(path, tmp_path)
        assert data.image_shape[0] == 4
        assert load(path, tmp_path, image_size=data.image_shape[1]).digest == data.digest

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"train_labels": np.arange(3)}, "train_labels has 3 entries for 400 images"),
            ({"test_labels": np.full(200, 10)}, "test_labels holds 10 at index 0, outside .* 10 classes"),
            ({"test_labels": np.full(200, -1)}, "test_labels holds -1 at index 0, outside"),
            ({"test_labels": np.zeros(200, int)}, "test data have no image of class Trouser"),
            ({"train_labels": np.repeat(np.arange(1, 10), 45)[:400]}, "train data have no image of class T-shirt/top"),
            ({"train_labels": np.zeros(400)}, "train_labels are float64"),
            ({"train_images": np.zeros((400, 28, 28, 1))}, "train_images are float64.* uint8"),
            ({"train_images": np.zeros((400, 28), np.uint8)}, r"train_images have shape \(400, 28\)"),
            ({"train_images": np.zeros((400, 14, 14, 1), np.uint8)}, "differ in shape"),
            ({"test_images": None}, "no array test_images"),
            ({"class_names": np.array(["a"] * 10)}, "two classes have the same name"),
            ({"class_names": np.array(["a", None], dtype=object)}, "complete"),
            ({"class_names": np.array("a")}, r"class_names are <U1 of shape \(\)"),
            ({"class_names": np.arange(10)}, r"class_names are int64 of shape \(10,\)"),
            (
                {"train_labels": np.r_[np.repeat(np.arange(9), 44), [0, 0, 0, 9]]},
                "train data have 1 image of class Ankle boot",
            ),
            ({"test_labels": np.full(200, 20_000), "class_names": None}, "test_labels holds 20000 at index 0"),
        ],
    )
    def test_faults_name_the_file_and_the_fact(self, tiny, tmp_path, changes, message):
        path = save(tmp_path / "faulty.npz", tiny, **changes)
        with pytest.raises(StudyError, match=message) as error:
            load(path, tmp_path)
        assert "faulty.npz" in str(error.value)
        assert "\n" not in str(error.value)

    def test_truncated_file(self, tiny, tmp_path):
        path = tmp_path / "cut.npz"
        save(path, tiny)
        path.write_bytes(path.read_bytes()[:5000])
        with pytest.raises(StudyError, match=r"cut\.npz.* complete"):
            load(path, tmp_path)

    @pytest.mark.parametrize("content", [b"", b"not an archive", b"\x93NUMPY"])
    def test_no_npz_at_all(self, tmp_path, content):
        (tmp_path / "a.npz").write_bytes(content)
        with pytest.raises(StudyError, match=r"a\.npz.* complete"):
            load(tmp_path / "a.npz", tmp_path)

    def test_a_flipped_bit_in_the_images(self, tiny, tmp_path):
        path = tmp_path / "a.npz"
        np.savez_compressed(path, **tiny)
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0xFF
        path.write_bytes(content)
        with pytest.raises(StudyError, match=r"a\.npz.* complete"):
            load(path, tmp_path)


class TestUnknown:
    @pytest.mark.parametrize(
        ("dataset", "message"),
        [
            ("fashion-minst", "did you mean fashion-mnist"),
            ("zzz", "one of fashion-mnist-mini, mnist, fashion-mnist"),
            ("./no/such/folder", "no such file or folder"),
            ("gone.npz", "gone.npz: no such file"),
            ("x" * 300, "cannot be looked up"),
            ("~no-such-user/x", "cannot be looked up"),
        ],
    )
    def test_is_a_usage_error(self, tmp_path, dataset, message):
        with refused("dataset", message):
            load(dataset, tmp_path)


class TestFolder:
    @pytest.fixture
    def folder(self, tiny, tmp_path):
        for part in ("train", "test"):
            for index, label in enumerate(tiny[f"{part}_labels"]):
                if label < 3 and index < 60:
                    path = tmp_path / "my_pictures" / part / f"class {label}" / f"{index:03}.png"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(tiny[f"{part}_images"][index, ..., 0]).save(path)
        return tmp_path / "my_pictures"

    def test_is_read_in_order_of_names(self, folder, tiny, tmp_path):
        data = load(folder, tmp_path)
        assert data.name == "my-pictures"
        assert data.classes == ("class 0", "class 1", "class 2")
        first = np.flatnonzero(tiny["train_labels"] == 0)[0]
        assert np.array_equal(data.train_images[0, 0], tiny["train_images"][first, ..., 0])
        assert data.train_labels.tolist() == sorted(data.train_labels.tolist())

    def test_a_path_is_never_a_name(self, folder, tiny, tmp_path):
        """`pets.npz` beside the folder `pets` does not stand in for it."""
        np.savez(tmp_path / "my_pictures.npz", **tiny)
        assert load(folder, tmp_path).classes == ("class 0", "class 1", "class 2")

    def test_one_coloured_picture_makes_all_of_them_rgb(self, folder, tmp_path):
        Image.new("RGB", (28, 28), (9, 8, 7)).save(folder / "test" / "class 0" / "a.JPG")
        data = load(folder, tmp_path)
        assert data.image_shape == (3, 28, 28)
        assert np.array_equal(data.train_images[:, 0], data.train_images[:, 2])

    def test_different_sizes_want_image_size(self, folder, tmp_path):
        Image.new("L", (40, 30)).save(folder / "train" / "class 1" / "z.png")
        with pytest.raises(StudyError, match=r"z\.png .*40x30 .*28x28.* --image-size"):
            load(folder, tmp_path)
        assert load(folder, tmp_path, image_size=12).image_shape == (1, 12, 12)

    def test_truncated_picture_is_named(self, folder, tmp_path):
        path = folder / "train" / "class 1" / "cut.png"
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (28, 28), dtype=np.uint8)).save(path)
        path.write_bytes(path.read_bytes()[:200])
        with pytest.raises(StudyError, match=r"cut\.png.* complete"):
            load(folder, tmp_path)

    def test_class_missing_from_the_test_data(self, folder, tmp_path):
        (folder / "train" / "extra").mkdir()
        Image.new("L", (28, 28)).save(folder / "train" / "extra" / "a.png")
        with pytest.raises(StudyError, match=r"test.* no folder for class extra"):
            load(folder, tmp_path)

    def test_empty_class_folder(self, folder, tmp_path):
        for part in ("train", "test"):
            (folder / part / "nothing").mkdir()
        with pytest.raises(StudyError, match=r"nothing: no image \(\.png"):
            load(folder, tmp_path)

    def test_no_train_folder(self, tmp_path):
        (tmp_path / "pictures").mkdir()
        with pytest.raises(StudyError, match="train: no such folder"):
            load(tmp_path / "pictures", tmp_path)

    def test_16_bit_pictures_are_refused(self, folder, tmp_path):
        Image.fromarray(np.zeros((28, 28), np.uint16)).save(folder / "train" / "class 0" / "deep.png")
        with pytest.raises(StudyError, match=r"deep\.png.* 8 bits"):
            load(folder, tmp_path)


class TestDownload:
    @pytest.fixture
    def idx(self, tmp_path):
        """Return a function that writes an array as a file of MNIST's format, idx."""

        def write(name, array):
            header = bytes([0, 0, {1: 8, 4: 12}[array.itemsize], array.ndim])
            path = tmp_path / "raw" / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(header + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes())

        return write

    @pytest.fixture
    def downloads(self):
        """Return torchvision's module of data sets, which takes seconds to import."""
        from pruning_study.data.torchvision_import import torchvision

        return torchvision.datasets

    @pytest.fixture
    def raw(self, tmp_path, monkeypatch):
        """Return a function that makes a data set of torchvision read raw files in place of what it would download."""

        def read(dataset):
            monkeypatch.setattr(dataset, "download", lambda self: None)
            monkeypatch.setattr(dataset, "raw_folder", property(lambda self: tmp_path / "raw"))

        return read

    @pytest.mark.parametrize(
        ("name", "dataset"),
        [
            ("mnist", "MNIST"),
            ("fashion-mnist", "FashionMNIST"),
            ("kmnist", "KMNIST"),
        ],
    )
    def test_is_cached_into_the_npz(self, name, dataset, idx, raw, downloads, tiny, tmp_path, monkeypatch):
        for part, prefix in (("train", "train"), ("test", "t10k")):
            idx(f"{prefix}-images-idx3-ubyte", tiny[f"{part}_images"][..., 0])
            idx(f"{prefix}-labels-idx1-ubyte", tiny[f"{part}_labels"].astype(np.uint8))
        raw(getattr(downloads, dataset))
        data = load(name, tmp_path)
        assert [path.name for path in (tmp_path / "data").iterdir()] == [f"{name.replace('-', '_')}.npz"]
        assert np.array_equal(data.train_images[:, 0], tiny["train_images"][..., 0])
        assert data.test_labels.tolist() == tiny["test_labels"].tolist()
        assert (data.classes == tuple(tiny["class_names"])) == (name == "fashion-mnist")
        monkeypatch.undo()
        assert load(name, tmp_path).digest == data.digest

    def test_emnist_is_its_split_by_class_and_its_images_are_turned_upright(self, idx, raw, downloads, tmp_path):
        """Its files hold the transposed images; labels are digits, capitals and small letters in their order."""
        images = np.random.default_rng(0).integers(0, 256, (124, 28, 28), np.uint8)
        for part in ("train", "test"):
            idx(f"emnist-byclass-{part}-images-idx3-ubyte", images)
            idx(f"emnist-byclass-{part}-labels-idx1-ubyte", np.arange(124, dtype=np.uint8) % 62)
        raw(downloads.EMNIST)
        data = load("emnist", tmp_path)
        assert np.array_equal(data.train_images[:, 0], images.transpose(0, 2, 1))
        assert "".join(data.classes) == "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
        assert data.train_labels[[0, 10, 36, 61]].tolist() == [0, 10, 36, 61]

    def test_qmnist_has_all_its_test_images_with_series_and_writers(self, idx, raw, downloads, tiny, tmp_path):
        """Of the eight columns of its labels, the first three are digit, series and writer."""
        for part in ("train", "test"):
            labels = np.arange(8 * len(tiny[f"{part}_labels"])).reshape(-1, 8).astype(">i4")
            labels[:, 0], labels[:, 1] = tiny[f"{part}_labels"], 4
            idx(f"qmnist-{part}-images-idx3-ubyte", tiny[f"{part}_images"][..., 0])
            idx(f"qmnist-{part}-labels-idx2-int", labels)
        raw(downloads.QMNIST)
        data = load("qmnist", tmp_path)
        assert data.classes == tuple("0123456789")
        assert data.test_labels.tolist() == tiny["test_labels"].tolist()
        assert np.array_equal(data.test_images[:, 0], tiny["test_images"][..., 0])
        table = groups(data)
        assert table.writer.tolist() == [str(8 * place + 2) for place in range(200)]
        assert set(table.series) == {"hsf4"}

    def test_the_label_10_of_svhn_is_the_digit_0(self, downloads, tmp_path, monkeypatch):
        images = np.random.default_rng(0).integers(0, 256, (32, 32, 3, 20), np.uint8)
        labels = np.arange(20)[:, None] % 10 + 1

        def write_raw(self):
            scipy.io.savemat(Path(self.root, self.filename), {"X": images, "y": labels})

        monkeypatch.setattr(downloads.SVHN, "download", write_raw)
        monkeypatch.setattr(downloads.SVHN, "_check_integrity", lambda self: True)
        data = load("svhn", tmp_path)
        assert data.classes == tuple("0123456789")
        assert data.test_labels.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0] * 2
        assert np.array_equal(data.test_images[3], images[..., 3].transpose(2, 0, 1))

    def test_cifar100_has_its_100_fine_classes(self, downloads, tmp_path, monkeypatch):
        images = np.random.default_rng(0).integers(0, 256, (200, 3, 32, 32), np.uint8)
        fine = np.arange(200) % 100
        batch = {"data": images.reshape(200, -1), "fine_labels": fine.tolist(), "coarse_labels": (fine // 5).tolist()}
        names = [f"class {number}" for number in range(100)]

        def write_raw(self):
            folder = Path(self.root, self.base_folder)
            folder.mkdir(exist_ok=True)
            for name, content in (("train", batch), ("test", batch), ("meta", {"fine_label_names": names})):
                (folder / name).write_bytes(pickle.dumps(content))

        monkeypatch.setattr(downloads.CIFAR100, "download", write_raw)
        monkeypatch.setattr(downloads.CIFAR100, "_check_integrity", lambda self: True)
        monkeypatch.setattr(downloads.cifar, "check_integrity", lambda *arguments: True)
        data = load("cifar100", tmp_path)
        assert data.classes == tuple(names)
        assert data.train_labels.tolist() == fine.tolist()
        assert np.array_equal(data.train_images, images)

    def test_that_fails_says_where_to_put_the_file(self, downloads, tmp_path, monkeypatch):
        def fail(self):
            raise RuntimeError("no route to host\nat all")

        monkeypatch.setattr(downloads.KMNIST, "download", fail)
        with pytest.raises(StudyError, match=r"kmnist\.npz.*\(no route to host\).* put the file"):
            load("kmnist", tmp_path)
        assert list((tmp_path / "data").iterdir()) == []


class TestSplit:
    labels = np.repeat([0, 1, 2], [100, 40, 10])

    def test_is_stratified_and_complete(self):
        train, validation = labels.split(self.labels, 0.1, seed=3)
        assert np.bincount(self.labels[validation]).tolist() == [10, 4, 1]
        assert sorted([*train, *validation]) == list(range(150))

    def test_is_seeded(self):
        first, again, other = (labels.split(self.labels, 0.1, seed)[1].tolist() for seed in (3, 3, 4))
        assert first == again != other

    def test_keeps_one_of_each_class_on_both_sides(self):
        train, validation = labels.split(np.array([0, 0, 1, 1]), 0.01, seed=0)
        assert np.bincount([0, 0, 1, 1], minlength=2).tolist() == [2, 2]
        assert len(train) == len(validation) == 2


class TestThinned:
    labels = np.repeat([0, 1, 2], [100, 40, 10])
    indices = np.arange(0, 150, 2)  # 50, 20 and 5 images

    def test_keeps_shares_of_some_classes_and_all_of_the_others(self):
        kept = labels.thinned(self.labels, self.indices, {0: 0.2, 2: 0.5}, seed=0)
        assert np.bincount(self.labels[kept]).tolist() == [10, 20, 2]  # round(2.5) is 2
        assert set(kept) <= set(self.indices)
        assert kept.tolist() == sorted(kept)

    def test_is_seeded(self):
        first, again, other = (labels.thinned(self.labels, self.indices, {0: 0.5}, seed).tolist() for seed in (3, 3, 4))
        assert first == again != other

    def test_a_smaller_share_keeps_some_of_the_images_of_a_larger_one_whatever_the_other_classes(self):
        larger = labels.thinned(self.labels, self.indices, {0: 0.6, 1: 0.5}, seed=1)
        smaller = labels.thinned(self.labels, self.indices, {0: 0.3}, seed=1)
        assert set(smaller[self.labels[smaller] == 0]) < set(larger[self.labels[larger] == 0])

    def test_without_shares_nothing_is_left_out(self):
        assert labels.thinned(self.labels, self.indices, {}, seed=1).tolist() == self.indices.tolist()


def test_normalization_of_known_pixels():
    images = np.zeros((2, 2, 1, 2), np.uint8)
    images[:, 0] = [[[0, 255]]]  # half black, half white: mean .5, deviation .5
    images[:, 1] = 51  # constant
    mean, std = datasets.normalization(images)
    assert mean == pytest.approx([0.5, 0.2])
    assert std == pytest.approx([0.5, 1.0])


def test_normalization_looks_at_every_image_and_takes_little_memory():
    def peak():
        return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"))[1]) * 1024

    images = np.zeros((20_001, 1, 40, 40), np.uint8)
    images[10_000:20_000] = 255
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # sets the peak to what the process has now
    before = peak()
    mean, _ = datasets.normalization(images)
    assert mean == [pytest.approx(10_000 / 20_001)]
    assert peak() - before < images.nbytes
