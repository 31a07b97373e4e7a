"""Data sets that are damaged, made to deceive, or too large for the memory."""

import io
import os
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from analysis.common.errors import StudyError
from pruning_study.data import datasets, folders
from pruning_study.options.config import TrainConfig
from tests.damage import LONGEST_MESSAGE, read_damaged
from tests.memory_limit import memory_limit


def load(dataset, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a warning would be printed beside the error
        return datasets.load(str(dataset), data_dir=TrainConfig().data_dir, **options)


def refusal(dataset, **options):
    with pytest.raises(StudyError) as caught:
        load(dataset, **options)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < LONGEST_MESSAGE
    return str(caught.value)


@pytest.fixture
def folder(tmp_path):
    """Return a data set of two grey 4x4 pictures for each part and class."""
    for part in ("train", "test"):
        for value, name in enumerate(("cat", "dog")):
            (tmp_path / "pets" / part / name).mkdir(parents=True)
            for number in range(2):
                Image.new("L", (4, 4), 100 * value + number).save(tmp_path / "pets" / part / name / f"{number}.png")
    return tmp_path / "pets"


@pytest.fixture
def picture(folder):
    """Return the path of the first picture, `train/cat/0.png`."""
    return folder / "train" / "cat" / "0.png"


@pytest.fixture
def faulty(tiny, tmp_path):
    """Return a function that loads the `tiny` data set with other arrays, and returns the error's message."""

    def of(**changes):
        options = {name: changes.pop(name) for name in ("image_size",) if name in changes}
        np.savez(tmp_path / "faulty.npz", **{**tiny, **changes})
        return refusal(tmp_path / "faulty.npz", **options)

    return of


def png(width, height, *chunks, depth=8, colour=0, data=None):
    """Return a PNG with further chunks, which may say other things than it holds."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = zlib.compress(bytes(height * (1 + width)) if data is None else data)
    whole = [(b"IHDR", header), *chunks, (b"IDAT", body), (b"IEND", b"")]
    packed = (
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in whole
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


@pytest.mark.attack
def test_a_picture_with_3_megabytes_of_text__is_refused_in_one_line(picture, folder):
    text = zlib.compress(bytes(3 * 2**20))
    picture.write_bytes(png(4, 4, (b"zTXt", b"Comment\0\0" + text)))
    assert picture.stat().st_size < 10_000
    assert "train/cat/0.png: this is not a complete image (Decompressed data too large" in refusal(folder)


@pytest.mark.attack
@pytest.mark.parametrize(("side", "words"), [(10_000, "100000000 pixels"), (100_000, "10000000000 pixels")])
def test_a_picture_of_far_more_pixels_than_bytes__is_refused_before_it_is_unpacked(picture, folder, side, words):
    picture.write_bytes(png(side, side, data=b"x"))
    with memory_limit(100):
        assert words in refusal(folder)


@pytest.mark.attack
@pytest.mark.parametrize("content", [b"", b"text", b"\x89PNG\r\n\x1a\n", png(4, 4)[:45], png(4, 4, data=b"x")])
def test_a_picture_that_is_empty_cut_short_or_none__is_named_in_one_line(picture, folder, content):
    picture.write_bytes(content)
    assert f"{picture}: this is n" in refusal(folder)


@pytest.mark.attack
@pytest.mark.parametrize(("width", "height"), [(0, 4), (4, 0)])
def test_a_picture_without_a_pixel__is_refused(picture, folder, width, height):
    picture.write_bytes(png(width, height))
    assert str(picture) in refusal(folder)
    assert str(picture) in refusal(folder, image_size=4)


@pytest.mark.attack
def test_a_program_in_postscript_that_is_called_a_picture__is_never_run(picture, folder, tmp_path, monkeypatch):
    """Pillow would start Ghostscript, which is found on the path."""
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    picture.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\nshowpage\n%%EOF\n")
    assert "not an image in a supported format" in refusal(folder)
    assert not (tmp_path / "started").exists()


@pytest.mark.attack
@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "loop of links", "link to nothing"])
def test_a_pipe_a_device_a_folder_or_a_loop_of_links_as_a_picture__is_refused_at_once(picture, folder, kind):
    picture.unlink()
    make = {
        "pipe": lambda: os.mkfifo(picture),
        "device": lambda: picture.symlink_to("/dev/zero"),
        "folder": lambda: picture.mkdir(),
        "loop of links": lambda: picture.symlink_to(picture.name),
        "link to nothing": lambda: picture.symlink_to("nothing"),
    }
    make[kind]()
    assert str(picture) in refusal(folder)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_arrays_with_channels_first_are_refused(faulty, channels):
    """Images of 2 or 4 channels were taken for images of 2 or 4 rows."""
    images = np.zeros((100, channels, 12, 12), np.uint8)
    assert "which is [N, C, H, W] rather than [N, H, W, C]" in faulty(train_images=images)


def test_pictures_of_every_kind_are_read_as_they_are_seen(picture, folder):
    """Colours of a CMYK, half-transparent, animated and turned picture, each under another format's ending."""
    red = Image.new("RGB", (4, 4), (255, 0, 0))
    palette = red.convert("P", palette=Image.Palette.ADAPTIVE)
    palette.info["transparency"] = bytes([128] * 256)
    turned = Image.new("RGB", (4, 4), (255, 0, 0))
    turned.putpixel((0, 0), (0, 0, 255))
    orientation = Image.Exif()
    orientation[0x0112] = 3  # seen upside down
    expected = {"cmyk.jpg": (254, 0, 0), "palette.jpg": (255, 127, 127)}
    for name, save in {
        "cmyk.jpg": lambda path: red.convert("CMYK").save(path, "JPEG", quality=100),
        "palette.jpg": lambda path: palette.save(path, "PNG", transparency=bytes([128] * 256)),
        "animated.png": lambda path: red.save(path, "GIF", save_all=True, append_images=[turned]),
        "turned.jpg": lambda path: turned.save(path, "PNG", exif=orientation),
    }.items():
        picture.unlink(missing_ok=True)
        picture = picture.with_name(name)
        save(picture)
        first = load(folder).train_images[load(folder).train_labels == 0]
        assert np.abs(first[-1, :, 1, 1].astype(int) - expected.get(name, (255, 0, 0))).max() <= 1, name
        if name == "turned.jpg":
            assert first[-1, :, 3, 3].tolist() == [0, 0, 255]


def tiff(pixels):
    """Return an uncompressed TIFF file of pixels, uint16 [H, W, C]."""
    height, width, channels = pixels.shape
    tags = [(256, width), (257, height), (258, 182), (259, 1), (262, 2), (273, 190), (277, channels), (278, height)]
    tags += [(279, pixels.nbytes)]
    entries = b"".join(struct.pack("<HHII", tag, 3, channels if tag == 258 else 1, value) for tag, value in tags)
    start = struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(4)
    return start.ljust(182, b"\0") + struct.pack(f"<{channels}H", *[16] * channels).ljust(8, b"\0") + pixels.tobytes()


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_a_coloured_picture_of_16_bits_a_channel_is_refused(picture, folder, kind):
    """Pillow keeps the high byte of each channel, so 12 bits of a camera became values from 0 to 15."""
    pixels = np.random.default_rng(0).integers(0, 4096, (4, 4, 3), np.uint16)
    rows = pixels.astype(">u2")
    content = {
        "PNG": png(4, 4, depth=16, colour=2, data=b"".join(b"\0" + row.tobytes() for row in rows)),
        "TIFF": tiff(pixels),
        "PPM": b"P6 4 4 65535\n" + rows.tobytes(),
    }[kind]
    with Image.open(io.BytesIO(content), formats=[kind]) as read:
        assert np.abs(np.asarray(read, int) - pixels // 256).max() <= 1
    picture.write_bytes(content)
    assert refusal(folder) == f"{picture}: it has 16 bits a channel; images must have 8 bits a channel"


def test_a_picture_of_few_bits_a_channel_is_read(picture, folder):
    picture.write_bytes(b"P6 4 4 15\n" + bytes([15, 0, 3] * 16))
    assert load(folder).train_images[0, :, 0, 0].tolist() == [255, 0, 51]


def test_a_picture_of_16_bits_a_pixel_is_read(picture, folder):
    masks = 0xF800, 0x7E0, 0x1F  # 5 bits of red, 6 of green, 5 of blue
    header = struct.pack("<2sIHHI", b"BM", 98, 0, 0, 66)
    header += struct.pack("<IiiHHIIiiII3I", 40, 4, 4, 1, 16, 3, 32, 0, 0, 0, 0, *masks)
    picture.write_bytes(header + struct.pack("<16H", *[0xF800] * 16))
    assert load(folder).train_images[0, :, 0, 0].tolist() == [255, 0, 0]


@pytest.mark.attack
@pytest.mark.parametrize("count", [200, pytest.param(1000, marks=pytest.mark.slow)])
def test_pictures_with_seeded_random_damage__are_read_or_refused_in_one_line(tmp_path, count):
    sound = []
    image = Image.fromarray(np.arange(75, dtype=np.uint8).reshape(5, 5, 3))
    described = PngImagePlugin.PngInfo()
    described.add_text("Comment", "words", zip=True)
    for kind in folders.FORMATS:
        content = io.BytesIO()
        image.save(content, kind, **({"pnginfo": described} if kind == "PNG" else {}))
        sound.append(content.getvalue())
    parts = [
        b"IHDR",
        b"IDAT",
        b"tRNS",
        b"eXIf",
        b"acTL",
        b"\xff\xd8",
        b"\xff\xe1\xff\xff",
        b"\x7f\xff\xff\xff",
        b"\0" * 8,
    ]
    for part in ("train", "test"):
        for name in ("a", "b"):
            (tmp_path / "set" / part / name).mkdir(parents=True)
            (tmp_path / "set" / part / name / "0.png").write_bytes(png(1, 1))
            (tmp_path / "set" / part / name / "1.png").write_bytes(png(1, 1))

    with memory_limit(600):
        taken = read_damaged(
            lambda path: load(tmp_path / "set", image_size=2), tmp_path / "set/train/a/0.png", sound, parts, count
        )
    assert 0.1 * count < taken < 0.95 * count


@pytest.mark.attack
def test_arrays_without_an_image__are_refused_with_and_without_image_size(faulty):
    for shape in ((0, 28, 28, 1), (400, 0, 28, 1), (400, 28, 0), (0,), ()):
        for size in (None, 16):
            assert "train_images have shape" in faulty(train_images=np.zeros(shape, np.uint8), image_size=size)
    assert "test_images have shape" in faulty(test_images=np.zeros((0, 28, 28), np.uint8), test_labels=np.zeros(0, int))


@pytest.mark.attack
@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.full(400, 2**64 - 1, np.uint64), "holds 18446744073709551615, which is not a class index"),
        (np.full(400, True), "are bool of shape"),
        (np.full(400, np.nan), "are float64 of shape"),
        (np.full(400, "7"), "are <U1 of shape"),
        (np.full(400, "2020-01-01", "M8[D]"), "are datetime64"),
        (np.full((400, 10), 1), "of shape (400, 10)"),
        (np.array(7), "of shape ()"),
        (np.full(401, 7), "401 entries for 400 images"),
        (np.zeros(400, [("a", int), ("b", int)]), "has type"),
        (np.full(400, 7), "no image of class"),
    ],
)
def test_labels_that_are_no_indices_of_classes__are_refused(faulty, labels, words):
    assert words in faulty(train_labels=labels)


@pytest.mark.attack
@pytest.mark.parametrize(
    ("names", "words"),
    [
        (np.array([*"abcdefghi", ""]), "the class name '' is empty"),
        (np.array([*"abcdefghi", "x" * 300]), "has 300 characters"),
        (np.array([*"abcdefghi", "\x1b[2J"]), "has a control character"),
        (np.array([*"abcdefghi", "a\nb"]), "has a control character"),
        (np.array([*"abcdefghi", "a\u202e"]), "has a control character"),
        (np.array([*"abcdefgh", "caf\u00e9", "cafe\u0301"]), "two classes have the same name"),
        (np.array([b"a"] * 9 + [b"\xff"]), "not UTF-8 text"),
        (np.array([*"abc"]), "outside the 3 classes"),
        (np.array([*"abcdefghijk"]), "no image of class k"),
        (np.array([list("abcdefghij")]), "of shape (1, 10)"),
        (np.array([], dtype="U1"), "0 classes"),
        (np.array([0.5] * 10), "class_names are float64"),
    ],
)
def test_class_names_that_no_report_can_show_or_that_are_alike__are_refused(faulty, names, words):
    assert words in faulty(class_names=names)


@pytest.mark.attack
def test_class_folders_that_differ_in_capitals_or_in_the_bytes_of_an_accent__are_named(folder):
    (folder / "train" / "cat").rename(folder / "train" / "Cat")
    assert "no folder for class cat, which the other part has (capitals and accents count)" in refusal(folder)
    (folder / "train" / "Cat").rename(folder / "train" / "caf\u00e9")
    (folder / "test" / "cat").rename(folder / "test" / "cafe\u0301")
    assert "(capitals and accents count)" in refusal(folder)


@pytest.mark.attack
@pytest.mark.parametrize("name", [b"\xff\xfe", b"\x1b]0;x\x07", b"a\nb"])
def test_a_folder_whose_name_is_no_utf_8_or_commands_the_terminal__is_refused_in_one_line(folder, name):
    for part in ("train", "test"):
        os.rename(folder / part / "cat", os.path.join(os.fsencode(folder / part), name))  # noqa: PTH104, PTH118
    assert "has a control character, an invisible mark or a byte that is not UTF-8" in refusal(folder)
    for part in ("train", "test"):
        os.rename(os.path.join(os.fsencode(folder / part), name), folder / part / "cat")  # noqa: PTH104, PTH118
    os.rename(folder, os.path.join(os.fsencode(folder.parent), name))  # noqa: PTH104, PTH118
    renamed = os.fsdecode(os.path.join(os.fsencode(folder.parent), name))  # noqa: PTH118
    assert "the name of the data set has a control character" in refusal(renamed)


@pytest.mark.attack
def test_a_picture_whose_name_is_no_utf_8__is_read_and_is_named_with_escapes_if_it_is_damaged(folder):
    path = os.path.join(os.fsencode(folder / "train" / "cat"), b"\xff\x1b[2J.png")  # noqa: PTH118
    with open(path, "wb") as file:  # noqa: PTH123
        file.write(png(4, 4))
    assert len(load(folder).train_images) == 5
    with open(path, "wb") as file:  # noqa: PTH123
        file.write(b"damaged")
    assert r"cat/\udcff\x1b[2J.png: this is not an image" in refusal(folder)
