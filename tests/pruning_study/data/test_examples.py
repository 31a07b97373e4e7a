import re
from pathlib import Path

import numpy as np
import pytest
import torch

from pruning_study.data import datasets
from pruning_study.data import examples as examples_module
from pruning_study.data.examples import (
    Examples,
    FlipCrop,
    Normalization,
    PackedImages,
    generator,
    number_of_batches,
    parts,
    shuffled,
    to_device,
)
from pruning_study.data.labels import split


def test_normalization_of_known_pixels():
    images = np.array([[[[0, 255]], [[51, 102]]]], dtype=np.uint8)  # [1, 2, 1, 2]
    examples = to_device(images, np.array([1]), Normalization([0.5, 0.2], [0.5, 0.1]), "cpu")
    torch.testing.assert_close(examples.images, torch.tensor([[[[-1.0, 1.0]], [[0.0, 2.0]]]]))
    torch.testing.assert_close(Normalization([0.5, 0.2], [0.5, 0.1]).black, torch.tensor([-1.0, -2.0]))


def test_floats_in_0_to_1_are_normalised_as_bytes_are():
    normalization = Normalization([0.3], [0.4])
    images = torch.randint(0, 256, (2, 1, 4, 4), dtype=torch.uint8)
    torch.testing.assert_close(normalization(images), normalization(images / 255))


def test_normalization_leaves_what_it_is_given():
    images = torch.full((1, 1, 2, 2), 0.5)
    Normalization([0.3], [0.4])(images)
    assert images.unique().tolist() == [0.5]


@pytest.mark.parametrize(
    ("memory_format", "strides"), [(torch.channels_last, (12, 1, 6, 3)), (torch.contiguous_format, (12, 4, 2, 1))]
)
def test_images_lie_in_the_layout_that_is_asked_for(memory_format, strides):
    images, labels = np.zeros((5, 3, 2, 2), np.uint8), np.zeros(5, np.int64)
    normalization = Normalization([0.0] * 3, [1.0] * 3)
    assert to_device(images, labels, normalization, "cpu", memory_format).images.stride() == strides


def test_normalising_a_data_set_takes_little_more_memory_than_it():
    def peak():
        return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"))[1]) * 1024

    images, labels = np.ones((20_000, 1, 40, 40), np.uint8), np.zeros(20_000, np.int64)
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # sets the peak to what the process has now
    before = peak()
    examples = to_device(images, labels, Normalization([0.5], [0.5]), "cpu")
    assert peak() - before < 1.5 * examples.images.nbytes


class TestPacked:
    """Large images: they are normalised when they are taken, to the same bits."""

    random = np.random.default_rng(0)
    images = random.integers(0, 256, (9, 65, 65, 3), np.uint8).transpose(0, 3, 1, 2)
    labels = np.arange(9)
    normalization = Normalization([0.4, 0.5, 0.6], [0.2, 0.3, 0.1])

    @pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
    def test_a_batch_is_what_it_would_be_if_all_were_normalised(self, monkeypatch, memory_format):
        places = np.array([8, 1, 5, 2, 0])
        arguments = (self.images, self.labels, self.normalization, "cpu", memory_format, places)
        packed = to_device(*arguments)
        assert isinstance(packed.images, PackedImages)
        monkeypatch.setattr(examples_module, "SMALL_IMAGE", 65 * 65 * 3)
        whole = to_device(*arguments)
        assert isinstance(whole.images, torch.Tensor)
        assert packed.labels.tolist() == whole.labels.tolist() == [8, 1, 5, 2, 0]
        batch = torch.tensor([4, 0, 3])
        (images, labels), (wanted, wanted_labels) = packed.batch(batch), whole.batch(batch)
        assert torch.equal(images, wanted)
        assert labels.tolist() == wanted_labels.tolist() == [0, 8, 2]
        assert torch.equal(torch.cat(list(parts(packed.images, 2))), whole.images)
        assert torch.equal(torch.cat(list(parts(packed.images[1:3], 9))), whole.images[1:3])

    def test_images_are_large_or_very_many(self, monkeypatch):
        small = np.zeros((9, 3, 64, 64), np.uint8)
        assert isinstance(to_device(small, self.labels, self.normalization, "cpu").images, torch.Tensor)
        monkeypatch.setattr(examples_module, "MOST_BYTES", 9 * 3 * 64 * 64 * 4 - 1)
        assert isinstance(to_device(small, self.labels, self.normalization, "cpu").images, PackedImages)

    def test_arrays_that_cannot_be_written_are_taken_without_a_copy_or_a_warning(self, recwarn):
        images = np.ascontiguousarray(self.images)
        images.flags.writeable = False
        packed = to_device(images, self.labels, self.normalization, "cpu")
        assert packed.images.pixels.data_ptr() == images.ctypes.data
        assert not recwarn.list


@pytest.mark.slow
def test_large_images_need_their_bytes_once_in_memory(tmp_path):
    """From the file to the last batch of an epoch, a data set takes at most 1.3 times the bytes of its images."""

    def peak():
        return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"))[1]) * 1024

    file, count = tmp_path / "large.npz", 1200
    images = np.full((count, 224, 224, 3), 7, np.uint8)
    size, labels = images.nbytes, np.arange(count) % 2
    np.savez(
        file, train_images=images[100:], train_labels=labels[100:], test_images=images[:100], test_labels=labels[:100]
    )
    del images
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # sets the peak to what the process has now
    before = peak()
    data = datasets.load(str(file), data_dir=tmp_path)
    assert len(data.digest) == 32
    chosen, held_out = split(data.train_labels, 0.1, 0)
    normalization = Normalization(*datasets.normalization(data.train_images, chosen))
    train, validation = (
        to_device(data.train_images, data.train_labels, normalization, "cpu", indices=indices)
        for indices in (chosen, held_out)
    )
    seen = sum(len(train.batch(batch)[0]) for batch in shuffled(train, 64, torch.Generator()))
    seen += sum(map(len, parts(validation.images, 64)))
    assert seen == count - 100
    assert peak() - before < 1.3 * size


def test_streams_are_seeded_and_independent():
    def draw(seed, stream):
        return torch.rand(4, generator=generator(seed, stream)).tolist()

    assert draw(0, "dense") == draw(0, "dense")
    assert len({tuple(draw(seed, stream)) for seed in (0, 1, 2**70) for stream in ("dense", "gradient")}) == 6


class TestShuffled:
    def batches(self, count, size, seed=0):
        examples = Examples(torch.arange(count).view(-1, 1, 1, 1).float(), torch.arange(count))
        return shuffled(examples, size, torch.Generator().manual_seed(seed))

    def test_are_all_examples_once(self):
        batches = self.batches(10, 4)
        assert [len(batch) for batch in batches] == [4, 4, 2]
        assert sorted(torch.cat(batches).tolist()) == list(range(10))

    def test_are_in_a_seeded_order(self):
        orders = [torch.cat(self.batches(50, 8, seed)).tolist() for seed in (1, 1, 2)]
        assert orders[0] == orders[1] != orders[2]

    def test_never_end_in_a_single_image(self):
        assert [len(batch) for batch in self.batches(9, 4)] == [4, 5]
        assert [len(batch) for batch in self.batches(1, 4)] == [1]


class TestFlipCrop:
    images = torch.arange(1.0, 1 + 2 * 6 * 5).view(1, 2, 6, 5)
    black = torch.tensor([-1.0, -2.0])

    def candidates(self):
        """Every result there can be: two flips, nine offsets each way, padded with black."""
        padded = self.black.view(1, 2, 1, 1).expand(1, 2, 14, 13).clone()
        padded[:, :, 4:10, 4:9] = self.images
        return {
            tuple(part.flatten().tolist()): (flip, row, column)
            for flip in (False, True)
            for row in range(9)
            for column in range(9)
            for part in [(padded.flip(3) if flip else padded)[:, :, row : row + 6, column : column + 5]]
        }

    def test_every_result_is_a_flip_and_a_crop_and_all_of_them_occur(self):
        many = FlipCrop(self.black, torch.Generator().manual_seed(0))(self.images.expand(4000, -1, -1, -1))
        candidates = self.candidates()
        seen = {candidates[tuple(image.flatten().tolist())] for image in many}
        assert len(seen) == 2 * 9 * 9

    def test_is_seeded(self):
        batch = self.images.expand(20, -1, -1, -1)
        first, again = (FlipCrop(self.black, torch.Generator().manual_seed(3))(batch) for _ in range(2))
        assert torch.equal(first, again)

    def test_keeps_the_layout(self):
        batch = torch.randn(8, 3, 6, 6).contiguous(memory_format=torch.channels_last)
        out = FlipCrop(torch.zeros(3), torch.Generator().manual_seed(0))(batch)
        assert out.is_contiguous(memory_format=torch.channels_last)
        assert FlipCrop(torch.zeros(3), torch.Generator())(torch.randn(8, 3, 6, 6)).is_contiguous()


@pytest.mark.parametrize(
    ("count", "size", "batches"),
    [(12, 4, 3), (13, 4, 3), (14, 4, 4), (3, 4, 1), (1, 4, 1), (7, 1, 6), (2, 1, 1), (1, 1, 1), (5, 2, 2), (4, 2, 2)],
)
def test_number_of_batches_is_that_of_shuffled(count, size, batches):
    """A last batch of one image joins the one before it."""
    examples = Examples(torch.zeros(count, 1, 2, 2), torch.zeros(count, dtype=torch.int64))
    assert number_of_batches(count, size) == len(shuffled(examples, size, torch.Generator())) == batches
