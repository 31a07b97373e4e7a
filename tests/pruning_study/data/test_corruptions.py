"""Corrupted images by hand, from the formulas of Hendrycks & Dietterich, and their files."""

import io
import sys

import numpy as np
import pytest
from PIL import Image

from analysis.common.errors import StudyError
from analysis.report import published
from analysis.runs.names import CORRUPTIONS, SEVERITIES
from pruning_study.data import corruptions
from pruning_study.data.corruptions import Sample, corrupt, corrupted

DIGEST = "0" * 32


def grey(value, count=1, channels=3):
    return np.full((count, channels, 32, 32), value, np.uint8)


def noise(count, channels=3):
    return np.random.default_rng(0).integers(0, 256, (count, channels, 32, 32), dtype=np.uint8)


def one(image, corruption, severity, index=0):
    return corrupt(image[None], DIGEST, corruption, severity, [index])[0]


def test_the_corruptions_are_those_of_the_papers_table():
    assert list(CORRUPTIONS) == published.figures("compressed_networks_imagenet_c_top1")["corruption"].tolist()


def test_a_sample_has_the_share_of_each_class_and_lies_in_a_larger_one():
    labels = np.repeat([0, 1, 2], [60, 30, 10])
    ten, fifty = (corruptions.chosen(labels, count) for count in (10, 50))
    assert np.bincount(labels[ten]).tolist() == [6, 3, 1]
    assert np.bincount(labels[fifty]).tolist() == [30, 15, 5]
    assert set(ten) < set(fifty)
    assert corruptions.chosen(labels, None).tolist() == corruptions.chosen(labels, 1000).tolist() == list(range(100))


def test_a_sample_of_fewer_images_than_classes_is_not_of_the_first_classes():
    labels = np.arange(300) % 100
    ten = labels[corruptions.chosen(labels, 10)]
    assert len(set(ten)) == 10
    assert max(ten) > 50


def test_images_below_32_pixels_or_of_two_channels_are_refused():
    with pytest.raises(StudyError, match=r"28x28 pixels, and corruptions need 32x32 .* --image-size 32"):
        corruptions.check_images("toy.npz", np.zeros((1, 1, 28, 28), np.uint8))
    with pytest.raises(StudyError, match="have 2 channels, and corruptions need 1 or 3"):
        corruptions.check_images("toy.npz", np.zeros((1, 2, 32, 32), np.uint8))
    corruptions.check_images("toy.npz", grey(0))


@pytest.mark.attack
def test_corruptions_without_their_package__one_line_names_the_extra(monkeypatch):
    monkeypatch.delitem(sys.modules, "imagecorruptions", raising=False)
    monkeypatch.setattr(sys, "meta_path", [])  # nothing is found
    with pytest.raises(StudyError, match=r"needs imagecorruptions-imaug: pip install 'pruning-study\[corruptions\]'"):
        corruptions.check_installed()


@pytest.mark.corruptions
class TestFormulas:
    def test_brightness_adds_to_the_value_of_each_pixel(self):
        # .1 to .5 of 255 are 25.5 to 127.5, and 100 + 76.5 is cut to 176.
        made = [one(grey(100)[0], "brightness", severity)[0, 0, 0] for severity in SEVERITIES]
        assert made == pytest.approx([125, 151, 176, 202, 227], abs=1)
        assert (one(grey(250)[0], "brightness", 5) == 255).all()

    def test_contrast_moves_pixels_towards_their_mean(self):
        image = grey(0)[0]
        image[:, :, 16:] = 200
        made = one(image, "contrast", 1)  # 100 - .4 * 100 and 100 + .4 * 100
        assert made[0, 0, [0, 31]] == pytest.approx([60, 140], abs=1)
        assert one(grey(100)[0], "contrast", 5) == pytest.approx(100, abs=1)

    def test_jpeg_is_pillows_at_the_stated_quality(self):
        image = noise(1)[0]
        for severity, quality in zip(SEVERITIES, (25, 18, 15, 10, 7), strict=True):
            file = io.BytesIO()
            Image.fromarray(image.transpose(1, 2, 0)).save(file, "JPEG", quality=quality)
            expected = np.asarray(Image.open(file)).transpose(2, 0, 1)
            assert (one(image, "jpeg_compression", severity) == expected).all()

    def test_pixelate_is_a_smaller_picture_made_large_again(self):
        image = noise(1)[0]
        small = Image.fromarray(image.transpose(1, 2, 0)).resize((8, 8), Image.Resampling.BOX)  # a quarter of 32
        expected = np.asarray(small.resize((32, 32), Image.Resampling.NEAREST)).transpose(2, 0, 1)
        assert (one(image, "pixelate", 5) == expected).all()

    def test_noise_has_the_stated_deviation(self):
        gaussian = corrupt(grey(128, 40), DIGEST, "gaussian_noise", 1, list(range(40)))
        assert gaussian.std() == pytest.approx(0.08 * 255, rel=0.02)
        shot = corrupt(grey(128, 40), DIGEST, "shot_noise", 1, list(range(40)))  # Poisson: the mean is 128 / 255 * 60
        assert shot.std() == pytest.approx(255 * (128 / 255 / 60) ** 0.5, rel=0.02)
        impulses = corrupt(grey(128, 40), DIGEST, "impulse_noise", 3, list(range(40)))
        assert np.isin(impulses, (0, 255)).mean() == pytest.approx(0.09, rel=0.05)

    @pytest.mark.parametrize("corruption", ["defocus_blur", "frosted_glass_blur", "zoom_blur", "elastic"])
    def test_blurs_and_distortions_leave_an_even_picture(self, corruption):
        assert one(grey(100)[0], corruption, 3)[:, 12:20, 12:20] == pytest.approx(100, abs=1)


@pytest.mark.corruptions
class TestCorrupt:
    @pytest.mark.parametrize("corruption", CORRUPTIONS)
    def test_an_image_is_corrupted_alike_whatever_stands_beside_it(self, corruption):
        images = noise(4)
        state = np.random.get_state()[1].copy()
        together = corrupt(images, DIGEST, corruption, 3, [3, 1, 4, 2])
        assert (np.random.get_state()[1] == state).all()
        assert (together[2] == one(images[2], corruption, 3, index=4)).all()
        assert together.dtype == np.uint8
        assert (together != images).any()

    def test_random_numbers_follow_from_data_set_severity_and_place(self):
        image = grey(128)
        made = {
            corrupt(image, digest, "gaussian_noise", severity, [index]).tobytes()
            for digest, severity, index in [(DIGEST, 1, 0), ("1" * 32, 1, 0), (DIGEST, 2, 0), (DIGEST, 1, 1)]
        }
        assert len(made) == 4

    def test_a_grey_image_is_the_first_of_three_equal_channels(self):
        image = noise(1, channels=1)
        coloured = np.repeat(image, 3, axis=1)
        for corruption in ("gaussian_noise", "fog", "jpeg_compression"):
            made = corrupt(image, DIGEST, corruption, 2, [0])
            assert made.shape == (1, 1, 32, 32)
            assert (made[:, 0] == corrupt(coloured, DIGEST, corruption, 2, [0])[:, 0]).all()


@pytest.mark.corruptions
class TestFiles:
    sample = Sample("toy", DIGEST, noise(6), np.array([1, 4, 5]))

    def test_images_are_made_once(self, tmp_path):
        made = corrupted(self.sample, "contrast", 2, tmp_path)
        assert (made == corrupt(self.sample.images[[1, 4, 5]], DIGEST, "contrast", 2, [1, 4, 5])).all()
        (file,) = (tmp_path / "corrupted").rglob("*.npy")
        assert file == corruptions.cached_file(self.sample, "contrast", 2, tmp_path)
        np.save(file, np.zeros_like(made))  # what is read from now on is the file
        assert not corrupted(self.sample, "contrast", 2, tmp_path).any()

    def test_another_sample_has_another_file(self, tmp_path):
        other = self.sample._replace(indices=np.array([1, 4]))
        assert len({corruptions.cached_file(each, "fog", 1, tmp_path) for each in (self.sample, other)}) == 2

    @pytest.mark.attack
    def test_damaged_file_of_corrupted_images__one_line_says_to_delete_it(self, tmp_path):
        corrupted(self.sample, "contrast", 2, tmp_path)
        file = corruptions.cached_file(self.sample, "contrast", 2, tmp_path)
        content = file.read_bytes()
        file.unlink()
        for damaged in (b"", content[:40], content[:-1], b"\x00" * 300):
            file.write_bytes(damaged)
            with pytest.raises(StudyError, match=r"this file holds no corrupted images .*delete the file"):
                corrupted(self.sample, "contrast", 2, tmp_path)
