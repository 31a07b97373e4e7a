"""Ordinary files that made wrong numbers, or were refused: each is now read right, or refused with what to do."""

import shutil

import click.testing
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import feather

import analysis
from analysis.__main__ import cli
from analysis.audit import audit, confidences, power, prediction_files
from analysis.common.errors import StudyError
from analysis.common.input_files import SizeLimit
from analysis.statistics.intensification import largest_excess_floor
from tests.ordinary_files.builders import (
    CLASSES,
    IMAGES,
    NAMES,
    changed,
    named,
    networks,
    save_dataset,
    shuffled,
    write,
    write_table,
)


def audited(folder, **how):
    return audit.audit([str(folder / "before")], [str(folder / "after")], **how)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Return the audit of the networks as they are: class c0 loses 18 to 20 points, and the others nothing."""
    result = audited(write(tmp_path_factory.mktemp("plain"), networks()))
    assert result.table.set_index("class")["loss"].to_dict() == pytest.approx(
        {"c0": 0.2, "c1": 0, "c2": 0, "c3": 0, "c4": 0}
    )
    return result


def paths_of_another_machine(table):
    return table.assign(path="/home/me/" + NAMES)


READ_ALIKE = {
    "names in another order": named("filename"),
    "column image": named("image"),
    "index of pandas": {
        side: [table.rename(columns={"filename": ""}) for table in own] for side, own in named("filename").items()
    },
    "other folders": {
        "before": changed(lambda table: table.assign(path="data/" + NAMES), ("before",))["before"],
        "after": [shuffled(paths_of_another_machine(table)) for table in networks()["after"]],
    },
    "folders of Windows": {
        "before": changed(lambda table: table.assign(path=NAMES), ("before",))["before"],
        "after": [shuffled(table.assign(path=np.char.replace(NAMES, "/", "\\"))) for table in networks()["after"]],
    },
    "names that are unique in a class alone": changed(
        lambda table: table.assign(file=[f"{place // CLASSES}.png" for place in range(IMAGES)]), ("before", "after")
    ),
    "names in columns of other names": {
        "before": named("path")["before"],
        "after": [named("filename")["after"][0], named("image_id")["after"][1]],
    },
    "scikit-learn's names": changed(
        lambda table: table.rename(columns={"label": "y_true", "predicted": "y_pred"}), ("before", "after")
    ),
    "Keras's names": changed(
        lambda table: table.rename(columns={"label": "True_Label", "predicted": "Predicted_Label"}), ("after",)
    ),
    "other names": changed(lambda table: table.rename(columns={"label": "target", "predicted": "prediction"})),
    "plural names": changed(lambda table: table.rename(columns={"label": "labels", "predicted": "preds"})),
    "another prediction beside it": changed(lambda table: table.assign(prediction="c0", y_true="c1")),
    "another spelling of Unicode": {
        side: [table.replace("c0", name) for table in own]
        for (side, own), name in zip(networks().items(), ("th\u00e9", "the\u0301"), strict=True)
    },
    "another spelling of Unicode in names": {
        "before": changed(lambda table: table.assign(path=np.char.add("th\u00e9", NAMES)), ("before",))["before"],
        "after": [shuffled(table.assign(path=np.char.add("the\u0301", NAMES))) for table in networks()["after"]],
    },
    "probabilities": changed(
        lambda table: pd.get_dummies(table["predicted"], prefix="prob", dtype=float).assign(label=table["label"])
    ),
}


@pytest.mark.parametrize("tables", READ_ALIKE.values(), ids=READ_ALIKE)
def test_tables_with_other_orders_and_names_are_read_alike(tmp_path, plain, tables):
    table = audited(write(tmp_path, tables)).table.replace("th\u00e9", "c0")
    pd.testing.assert_frame_equal(table, plain.table)


@pytest.mark.parametrize(
    "ending",
    [".tsv", ".CSV", ".csv.gz", ".parquet", ".feather", ".arrow", ".jsonl", ".ndjson", ".npy", ".npz"],
)
def test_formats_are_read_alike(tmp_path, plain, ending):
    pd.testing.assert_frame_equal(audited(write(tmp_path, networks(), ending)).table, plain.table)


@pytest.mark.parametrize(
    "how", [{"sep": ";"}, {"sep": ";", "encoding": "utf-16"}, {"encoding": "utf-8-sig"}, {"quoting": 1}, {"sep": "\t"}]
)
def test_tables_of_spreadsheets_are_read_alike(tmp_path, plain, how):
    pd.testing.assert_frame_equal(audited(write(tmp_path, networks(), **how)).table, plain.table)


@pytest.mark.parametrize("ending", [".parquet", ".npz", ".jsonl", ".arrow"])
def test_names_in_other_formats_are_followed(tmp_path, plain, ending):
    result = audited(write(tmp_path, named("filename"), ending))
    pd.testing.assert_frame_equal(result.table, plain.table)
    assert any("2 of 4 files list the images in a different order" in note for note in result.notes)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_the_index_of_pandas_names_the_images(tmp_path, plain, kind):
    for side, own in named("filename").items():
        (tmp_path / side).mkdir()
        for number, table in enumerate(own):
            indexed = table.set_index("filename").rename_axis(None)
            getattr(indexed, f"to_{kind}")(tmp_path / side / f"{number}.{kind}")
    result = audited(tmp_path)
    pd.testing.assert_frame_equal(result.table, plain.table)
    assert any("2 of 4 files list the images in a different order" in note for note in result.notes)


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
@pytest.mark.parametrize("column", ["name", "id"])
def test_a_column_with_gaps_names_no_images(tmp_path, plain, ending, column):
    values = {"name": [None, None, *NAMES[2:]], "id": pd.array([None, None, *range(2, IMAGES)], "Int64")}[column]
    tables = changed(lambda table: table.assign(**{column: values}), ("before", "after"))
    result = audited(write(tmp_path, tables, ending))
    pd.testing.assert_frame_equal(result.table, plain.table)
    if column == "name":
        said = "The column name does not name each image once: row k of each file is taken for the same image."
        assert said in result.notes


def test_a_folder_of_hugging_face_is_a_network(tmp_path, plain):
    for side, own in networks().items():
        for number, table in enumerate(own):
            save_dataset(table, tmp_path / side / f"seed_{number}")
    pd.testing.assert_frame_equal(audited(tmp_path).table, plain.table)


def test_results_that_hugging_face_caches_beside_a_data_set_are_not_read(tmp_path, plain):
    """Each image counted twice."""
    for side, own in networks().items():
        for number, table in enumerate(own):
            save_dataset(table, folder := tmp_path / side / f"seed_{number}")
            shutil.copy(folder / "data-00000-of-00001.arrow", folder / "cache-0a1b2c3d.arrow")
    pd.testing.assert_frame_equal(audited(tmp_path).table, plain.table)


@pytest.mark.parametrize("ending", [".parquet", ".feather", ".jsonl"])
def test_a_column_of_pixels_does_not_name_the_images(tmp_path, plain, ending):
    """NumPy raised a ValueError."""
    tables = changed(lambda table: table.assign(image=[[0, 255]] * IMAGES, img=[[1]] * IMAGES), ("before", "after"))
    result = audited(write(tmp_path, tables, ending))
    pd.testing.assert_frame_equal(result.table, plain.table)
    assert "The files have no image names: row k of each file is taken for the same image." in result.notes


def test_a_folder_of_files_of_all_kinds_is_read_whole(tmp_path):
    """One of four files a side was read, and the others left out without a word."""
    table = {side: own[0] for side, own in networks().items()}
    for side in table:
        (tmp_path / side).mkdir()
        for number, ending in enumerate((".csv", ".CSV", ".csv.gz", ".parquet")):
            one_more_wrong = table[side].copy()
            one_more_wrong.loc[number, "predicted"] = "c4" if one_more_wrong["label"][number] != "c4" else "c3"
            write_table(one_more_wrong, tmp_path / side / f"{number}{ending}")
    notes = audited(tmp_path).notes
    pairs = [note for note in notes if note.startswith("Pair")]
    assert [pair.rpartition("/")[2] for pair in pairs] == ["0.csv.", "1.CSV.", "2.csv.gz.", "3.parquet."]


REFUSED = {
    "an image is named twice": (
        changed(lambda table: pd.concat([table.assign(filename=NAMES)] * 2), ("before", "after")),
        "appears 2 times: give one row for each image",
    ),
    "other images": (
        {
            **named("filename", order=False),
            "after": [table.assign(filename="test/" + NAMES + "0") for table in networks()["after"]],
        },
        "no image 'img_0000.jpg', which .* with 299 others: give predictions for the same images",
    ),
    "one file does not name its images": (
        {**named("filename"), "after": [named("filename")["after"][0], networks()["after"][1]]},
        "2.csv has no image names, and .* in different orders: give it the column filename too",
    ),
    "classes in another order": (
        changed(
            lambda table: table.assign(predicted="c" + ((table["predicted"].str[1:].astype(int) + 2) % 5).astype(str))
        ),
        r"after, network 1: the predictions agree with the labels only if their .*\(c3 for c0, .*--keep-class-order",
    ),
    "one network of two spells its classes otherwise": (
        {
            **networks(),
            "after": [
                networks()["after"][0],
                networks()["after"][1].assign(predicted=lambda t: t.predicted.str.upper()),
            ],
        },
        r"after/2.csv: no predicted class is among the labels \(labels: c0, .*; predicted: C0, .*: write each class",
    ),
    "two columns of one probability": (
        changed(lambda table: table.assign(p0=0.9, p1=0.1, prob_0=0.1, prob_1=0.9)),
        "the columns p0 and prob_0 both have the probability of class 0: remove one of them",
    ),
    "two columns of labels": (
        changed(lambda table: table.rename(columns={"label": "y_true"}).assign(target="c0"), ("before", "after")),
        "the columns y_true and target may both hold the label classes: say which does",
    ),
}


@pytest.mark.parametrize(("tables", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_matched_is_refused(tmp_path, tables, message):
    with pytest.raises(StudyError, match=message):
        audited(write(tmp_path, tables))


@pytest.mark.parametrize(
    ("tables", "note"),
    [
        (networks(), "The files have no image names: row k of each file is taken for the same image."),
        (
            {
                side: [
                    table.assign(image=table["filename"].str[8:12].astype(int)).drop(columns="filename")
                    for table in own
                ]
                for side, own in named("filename").items()
            },
            "The files number their images in different orders (image), and numbers do not count as names: row k of "
            "each file is taken for the same image.",
        ),
        (
            {
                side: [
                    table.assign(image_id=["val/img_0000.jpg" if name == NAMES[5] else name for name in table.image_id])
                    for table in own
                ]
                for side, own in named("image_id").items()
            },
            "The column imageid does not name each image once: row k of each file is taken for the same image.",
        ),
        (
            {"before": named("path")["before"], "after": changed(lambda table: table.assign(id=NAMES + "x"))["after"]},
            "The files name their images differently, in columns with different names: row k of each file is taken for "
            "the same image.",
        ),
        (
            changed(lambda table: table.iloc[np.repeat(np.arange(IMAGES), 5)], ("before", "after")),
            "The 1,500 rows look like 5 copies of each of 300 images",
        ),
        (
            changed(lambda table: pd.concat([table] * 3), ("before", "after")),
            "The 900 rows look like 3 copies of each of 300 images",
        ),
    ],
    ids=[
        "no names",
        "numbers",
        "an id twice",
        "other names in other columns",
        "five copies in a row",
        "three copies after each other",
    ],
)
def test_what_cannot_be_known_is_said_once(tmp_path, tables, note):
    assert sum(said.startswith(note) for said in audited(write(tmp_path, tables)).notes) == 1


def test_files_with_names_in_the_same_order_need_no_word(tmp_path):
    notes = audited(write(tmp_path, named("filename", order=False))).notes
    assert not any("images" in note and ("order" in note or "row k" in note) for note in notes)


def test_other_classes_go_on_if_asked(tmp_path):
    folder = write(tmp_path, REFUSED["classes in another order"][0])
    assert audited(folder, keep_class_order=True).chance_level.any_at_chance


def test_a_destroyed_network_is_audited(tmp_path):
    folder = write(tmp_path, changed(lambda table: table.assign(predicted="c0")))
    arguments = ["audit", "--before", str(folder / "before"), "--after", str(folder / "after"), "--fail-on-damage"]
    result = click.testing.CliRunner().invoke(cli, [*arguments, "--output", str(tmp_path / "out")])
    assert result.exit_code == 3


def test_columns_by_the_options_that_name_them(tmp_path, plain):
    tables = changed(
        lambda table: table.rename(columns={"label": "species", "predicted": "answer"}).assign(
            label="c0", predicted="c1"
        ),
        ("before", "after"),
    )
    folder = write(tmp_path, tables)
    arguments = ["--label-column", "species", "--predicted-column", "answer", "--output", str(tmp_path / "out")]
    sides = ["--before", str(folder / "before"), "--after", str(folder / "after")]
    result = click.testing.CliRunner().invoke(cli, ["audit", *sides, *arguments])
    assert result.exit_code == 0, result.output
    table = pd.read_csv(tmp_path / "out" / "audit.csv")
    assert table["loss"].tolist() == pytest.approx(plain.table["loss"].tolist())


@pytest.mark.parametrize("command", [audit.audit, power.power])
def test_logits_that_contradict_the_predictions_are_refused_by_each_command(tmp_path, command):
    """The audit said that class 0 lost 20 points, although the logits are those of other images."""
    for side, own in networks().items():
        (tmp_path / side).mkdir()
        for number, table in enumerate(own):
            arrays = {name: table[name].to_numpy(str) for name in table}
            logits = np.random.default_rng(number).normal(size=(IMAGES, CLASSES))
            np.savez(tmp_path / side / f"{number}.npz", logits=logits, **arrays)
    with pytest.raises(StudyError, match="the largest of the logits is in the column of the predicted class for"):
        command([str(tmp_path / "before")], [str(tmp_path / "after")])


def test_a_table_in_latin_1_is_refused_by_name(tmp_path):
    tables = changed(lambda table: table.replace("c0", "thé"), ("before", "after"))
    folder = write(tmp_path, tables, encoding="latin-1")
    with pytest.raises(StudyError, match="save it in UTF-8; spreadsheets on Windows often write Latin-1"):
        audit.audit([str(folder / "before")], [str(folder / "after")])


def confidence(table, path, **how):
    write_table(table, path, **how)
    return confidences.read([path], table["predicted"].to_numpy(str)[np.newaxis], SizeLimit(0.1)).values


def test_a_decimal_comma_is_no_confidence(tmp_path):
    table = networks()["before"][0].assign(confidence=0.9)
    with pytest.raises(
        StudyError, match=r"has the confidence '0,9', which is not a number \(write 0.9, with a point\)"
    ):
        confidence(table, tmp_path / "a.csv", sep=";", decimal=",")


def test_confidences_follow_from_columns_of_probabilities(tmp_path):
    table = networks()["before"][0]
    scores = pd.get_dummies(table["predicted"], prefix="prob", dtype=float) * 0.5 + 0.1
    assert confidence(table.join(scores), tmp_path / "a.csv") == pytest.approx(np.full((1, IMAGES), 0.6))


@pytest.mark.parametrize(
    "how", [{"sep": ";"}, {"sep": "\t"}, {"sep": ";", "encoding": "utf-16"}, {"encoding": "utf-8-sig"}]
)
def test_groups_of_a_spreadsheet_are_two_groupings(tmp_path, how):
    """`light;skin` was one grouping of that name."""
    folder = write(tmp_path, networks())
    light, skin = (np.where(np.arange(IMAGES) % part, "day", "night") for part in (2, 3))
    pd.DataFrame({"light": light, "skin": skin}).to_csv(tmp_path / "groups.csv", index=False, **how)
    assert audited(folder, groups=tmp_path / "groups.csv").groupings["grouping"].tolist() == ["light", "skin"]


def test_groups_are_matched_by_the_names_of_the_images(tmp_path):
    folder = write(tmp_path, named("filename"))
    groups = pd.DataFrame({"filename": NAMES, "light": np.where(np.arange(IMAGES) % CLASSES, "day", "night")})
    groups.sample(frac=1, random_state=0).to_csv(tmp_path / "groups.csv", index=False)
    table = audited(folder, groups=tmp_path / "groups.csv").table.set_index("group")
    assert table["loss"].to_dict() == pytest.approx({"night": 0.2, "day": 0})
    groups.assign(filename=np.char.add("other/", NAMES)).to_csv(tmp_path / "groups.csv", index=False)
    said = (
        r"column 'filename' has no name of an image of the predictions: write names such as 'val/img_0000.jpg' in place"
    )
    with pytest.raises(StudyError, match=said):
        audited(folder, groups=tmp_path / "groups.csv")
    groups.assign(filename=[*NAMES[:-1], "x"]).to_csv(tmp_path / "groups.csv", index=False)
    with pytest.raises(StudyError, match="line 301: filename 'x' is no image of the predictions"):
        audited(folder, groups=tmp_path / "groups.csv")


def series(index=None):
    tables = networks()
    label, before, after = (
        tables["before"][0]["label"],
        *(tables[side][0]["predicted"] for side in ("before", "after")),
    )
    return [each.set_axis(NAMES if index is None else index) for each in (label, before, after)]


@pytest.mark.parametrize("index", [None, range(IMAGES)])
def test_series_whose_images_are_in_another_order_are_refused(index):
    """The accuracy after was .323 in place of .937 in a study of this kind."""
    label, before, after = series(index)
    with pytest.raises(StudyError, match=r"give after.reindex\(label.index\), otherwise after.to_numpy\(\)"):
        audit.audit_predictions(label, before, after.sample(frac=1, random_state=0))
    assert audit.audit_predictions(label, before, after).table.set_index("class")["loss"]["c0"] == pytest.approx(0.2)


def test_series_and_frames_of_other_images_are_refused():
    label, before, after = series()
    for other in (after.set_axis("x" + NAMES), pd.DataFrame([after, after]).add_prefix("x")):
        with pytest.raises(StudyError, match="after has another index than label"):
            audit.audit_predictions(label, before, other)


def test_a_spreadsheet_in_a_folder_is_not_left_out(tmp_path):
    folder = write(tmp_path, networks())
    (folder / "after" / "3.xlsx").write_bytes(b"PK\3\4")
    with pytest.raises(StudyError, match=r"3.xlsx cannot be read, .*save it as CSV, or move it away"):
        audited(folder)


def test_arrays_without_names_are_refused_with_what_to_save(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(5))
    with pytest.raises(StudyError, match=r"without names: .* np.savez\('predictions.npz', label=label"):
        audit.audit([str(tmp_path / "a.npy")], [str(tmp_path / "a.npy")])


def test_an_empty_cell_of_parquet_is_named(tmp_path):
    table = networks()["before"][0]
    table.loc[6, "predicted"] = None
    table.to_parquet(tmp_path / "a.parquet")
    with pytest.raises(StudyError, match="row 7 has no predicted: fill it in"):
        prediction_files.read([tmp_path / "a.parquet"], prediction_files.SizeLimit(1))


def test_intervals_stay_within_what_can_be():
    """Two networks, of which one loses the only image of a class."""
    label = np.repeat(["a", "b"], [1, 50])
    before = np.tile(label, (2, 1))
    after = before.copy()
    after[0, 0] = "b"
    row = audit.audit_predictions(label, before, after).table.set_index("class").loc["a"]
    assert row[["loss", "loss_low", "loss_high"]].tolist() == [0.5, -1, 1]


def test_groups_of_one_image_are_named_and_left_out_of_the_largest_loss():
    """The only image of w0 is lost, and one of the 20 of w1. Noise would have made a loss of 237.2 points."""
    label, group = np.repeat(["a", "b"], [41, 10]), np.repeat(["w0", "w1", "w2"], [1, 20, 30])
    after = np.where(np.isin(np.arange(51), [0, 1]), "b", label)
    result = audit.audit_predictions(label, label, after, groups={"writer": group})
    (row,) = result.groupings.to_dict("records")
    assert row["largest_excess_group"] == "w1"
    assert row["largest_excess"] == pytest.approx(1 / 20 - 2 / 51)
    # Of w1, whose deviation is the root of .05 (1 - .05) / 19; the others do not move.
    assert row["largest_excess_floor"] == pytest.approx(0.05 / np.sqrt(2 * np.pi))
    note = next(note for note in result.notes if note.startswith("By writer"))
    assert note.endswith("Groups of one image are left out of chance movement: w0.")


def test_noise_makes_no_loss_of_more_than_everything():
    """Sixty classes of two images, of which each loses one and wins the other."""
    assert largest_excess_floor([0.5] * 60, [0.5] * 60, [0.0] * 60, [2] * 60) <= 1


def test_the_public_function_goes_on_with_other_classes_if_asked():
    label = np.arange(IMAGES) % CLASSES
    with pytest.raises(StudyError, match=r"keep_class_order=True"):
        analysis.audit_predictions(label, label, (label + 1) % CLASSES)
    assert analysis.audit_predictions(
        label, label, (label + 1) % CLASSES, keep_class_order=True
    ).chance_level.any_at_chance


@pytest.mark.parametrize(
    ("label", "predicted", "message"),
    [
        ([0, 1], ["no", "yes"], r"\(labels, whole numbers: 0, 1; predicted, text: no, yes\)"),
        ([False, True], ["False", "True"], r"\(labels, truth values: False, True; predicted, text: False, True\)"),
        ([0, 1], ["0", "1"], r"\(labels, whole numbers: 0, 1; predicted, text: 0, 1\)"),
    ],
)
def test_classes_of_other_kinds_are_named_with_their_kinds(label, predicted, message):
    """`labels: 0, 1; predicted: 0, 1` said nothing of what differs."""
    with pytest.raises(StudyError, match=message):
        audit.audit_predictions(*(np.tile(each, 20) for each in (label, predicted, predicted)))


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:", r"a pointer of Git LFS \(get the file itself"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"\x89PNG\r\n", "a PNG picture"),
        (b"%PDF-1.7", "a PDF file"),
        (b"BZh91AY&SY", "a bzip2 file"),
        (b"\xfd7zXZ\0", "an xz file"),
    ],
)
@pytest.mark.parametrize("ending", [".csv", ".npz"])
def test_files_of_other_kinds_are_named_by_their_first_bytes(tmp_path, start, kind, ending):
    path = tmp_path / f"a{ending}"
    path.write_bytes(start + bytes(200))
    with pytest.raises(StudyError, match=f"it begins as {kind}"):
        prediction_files.read([path], prediction_files.SizeLimit(1))


@pytest.mark.parametrize("repeated", [1, 2], ids=["all differ", "two each"])
def test_a_column_of_measured_numbers_is_refused_with_how_to_call_it(tmp_path, repeated):
    """Each number became a group of one image or two."""
    folder = write(tmp_path, networks())
    brightness = np.arange(IMAGES) // repeated / 7
    pd.DataFrame({"light": "day", "brightness": brightness}).to_csv(tmp_path / "groups.csv", index=False)
    with pytest.raises(StudyError, match="or call it measure:brightness if it is a measurement"):
        audited(folder, groups=tmp_path / "groups.csv")
    header = "light,measure:brightness"
    rows = (tmp_path / "groups.csv").read_text().splitlines()[1:]
    (tmp_path / "groups.csv").write_text("\n".join([header, *rows]))
    assert audited(folder, groups=tmp_path / "groups.csv").groupings["grouping"].tolist() == ["light"]


def text_of(table, before="", **how):
    return before + table.to_csv(index=False, **how)


TEXTS = {
    "Excel's line of the separator": lambda table: text_of(table, "sep=;\n", sep=";"),
    "a comment": lambda table: text_of(table, "# run 3, epoch 9\n"),
    "an empty line": lambda table: text_of(table, "\n\r\n"),
    "bars": lambda table: text_of(table, sep="|"),
    "quotes behind spaces": lambda table: text_of(table, quoting=1).replace(",", ", "),
    "empty rows of a spreadsheet at the end": lambda table: text_of(table) + ",\n,\n  \n",
    "UTF-16 without its mark": lambda table: text_of(table).encode("utf-16-le"),
    "returns alone": lambda table: text_of(table, lineterminator="\r"),
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_tables_that_begin_or_part_otherwise_are_read_alike(tmp_path, plain, text):
    for side, own in networks().items():
        (tmp_path / side).mkdir()
        for number, table in enumerate(own):
            content = text(table)
            (tmp_path / side / f"{number}.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    pd.testing.assert_frame_equal(audited(tmp_path).table, plain.table)


def test_errors_count_lines_before_the_header(tmp_path):
    (tmp_path / "a.csv").write_text("# a comment\n\nlabel,predicted\na,b\na\n")
    with pytest.raises(StudyError, match="line 5: 1 values for 2 columns"):
        prediction_files.read([tmp_path / "a.csv"], prediction_files.SizeLimit(1))


def test_an_empty_row_between_others_is_named(tmp_path):
    """Left out, it could put the rows of two files side by side that are of different images."""
    (tmp_path / "a.csv").write_text("label,predicted\na,a\n,\nb,b\n")
    with pytest.raises(StudyError, match="line 3: all cells are empty"):
        prediction_files.read([tmp_path / "a.csv"], prediction_files.SizeLimit(1))


def test_names_of_images_that_are_unique_in_a_class_alone_are_no_groups(tmp_path):
    """The images got the groups of other images, in the order of the rows."""
    names = [f"{place // CLASSES}.png" for place in range(IMAGES)]
    folder = write(tmp_path, changed(lambda table: table.assign(filename=names), ("before", "after")))
    groups = pd.DataFrame({"filename": names, "light": np.where(np.arange(IMAGES) % CLASSES, "day", "night")})
    groups[::-1].to_csv(tmp_path / "groups.csv", index=False)
    with pytest.raises(StudyError, match=r"write names such as 'c0/0.png' in place of '59.png', or rename the column"):
        audited(folder, groups=tmp_path / "groups.csv")
    groups["filename"] = [f"c{place % CLASSES}/{name}" for place, name in enumerate(names)]
    groups[::-1].to_csv(tmp_path / "groups.csv", index=False)
    table = audited(folder, groups=tmp_path / "groups.csv").table.set_index("group")
    assert table["loss"].to_dict() == pytest.approx({"night": 0.2, "day": 0})


def test_a_group_in_two_spellings_of_unicode_is_one_group(tmp_path):
    folder = write(tmp_path, networks())
    city = np.resize(["Gen\u00e8ve", "Gene\u0300ve", "Bern"], IMAGES)
    pd.DataFrame({"city": city}).to_csv(tmp_path / "groups.csv", index=False)
    label = np.arange(IMAGES) % CLASSES
    of_file = audited(folder, groups=tmp_path / "groups.csv")
    of_array = audit.audit_predictions(label, label, label, groups={"city": city})
    for result in (of_file, of_array):
        assert dict(zip(result.table["group"], result.table["images"], strict=True)) == {
            "Bern": 100,
            "Gen\u00e8ve": 200,
        }


@pytest.mark.parametrize("ending", [".parquet", ".jsonl", ".npy"])
def test_probabilities_that_are_stored_as_text_are_numbers(tmp_path, plain, ending):
    """As text, 5e-05 comes after 0.9999."""
    tables = changed(
        lambda table: (
            (pd.get_dummies(table["predicted"], prefix="prob") * 0.9998 + 5e-5).astype(str).assign(label=table["label"])
        )
    )
    pd.testing.assert_frame_equal(audited(write(tmp_path, tables, ending)).table, plain.table)


def test_a_probability_that_is_no_number_is_refused(tmp_path):
    pd.DataFrame({"label": ["0", "1"], "p0": ["0.9", "high"], "p1": ["0.1", "0.8"]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(StudyError, match=r"p0 is not a number for each image .*high"):
        prediction_files.read([tmp_path / "a.parquet"], prediction_files.SizeLimit(1))


@pytest.mark.parametrize("missing", ["", "nan"])
@pytest.mark.parametrize("ending", [".csv", ".npz", ".arrow", ".npy"])
def test_a_missing_probability_is_not_the_largest(tmp_path, missing, ending):
    """NumPy takes NaN for the largest."""
    scores = np.array([[0.9, 0.1], [float(missing or "nan"), 0.8]])
    path = tmp_path / f"a{ending}"
    if ending == ".npz":
        np.savez(path, label=[0, 1], probabilities=scores)
    elif ending == ".npy":
        np.save(path, np.array([(0, 0.9, 0.1), (1, np.nan, 0.8)], [("label", int), ("p0", float), ("p1", float)]))
    elif ending == ".arrow":
        feather.write_feather(pa.table({"label": [0, 1], "p0": scores[:, 0], "p1": scores[:, 1]}), path)
    else:
        path.write_text(f"label,p0,p1\n0,0.9,0.1\n1,{missing},0.8\n")
    with pytest.raises(StudyError, match="image 2 lacks the probability of at least one class"):
        prediction_files.read([path], prediction_files.SizeLimit(1))


def test_the_index_of_pandas_is_no_grouping(tmp_path):
    folder = write(tmp_path, networks())
    pd.DataFrame({"light": np.resize(["day", "night"], IMAGES)}).to_csv(tmp_path / "groups.csv")
    groupings = audited(folder, groups=tmp_path / "groups.csv").groupings["grouping"]
    assert groupings.tolist() == ["light"]


@pytest.mark.parametrize(("column", "name"), [("label", "label"), ("predicted", "predicted class")])
@pytest.mark.parametrize("missing", ["nan", "<NA>"])
def test_a_label_or_prediction_that_stands_for_a_missing_one_is_no_class(tmp_path, missing, column, name):
    """Beside a missing prediction, 2.0 was another class than 2."""
    tables = changed(lambda table: table.assign(**{column: table[column].where(table.index != 6, missing)}))
    with pytest.raises(StudyError, match=f"image 7 has the {name} {missing}, which tools write for a missing value"):
        audited(write(tmp_path, tables))


def one_hot(classes):
    return np.eye(CLASSES, dtype=np.uint8)[classes]


def test_names_in_one_column_of_an_array_are_followed(tmp_path, plain):
    for side, own in named("filenames").items():
        (tmp_path / side).mkdir()
        for number, table in enumerate(own):
            np.savez(tmp_path / side / f"{number}.npz", **{name: table[[name]].to_numpy(str) for name in table})
    pd.testing.assert_frame_equal(audited(tmp_path).table, plain.table)


NPZ = {
    "one column": lambda label, predicted: {"label": label[:, None], "predicted": predicted[:, None]},
    "one-hot": lambda label, predicted: {"label": one_hot(label), "predicted": predicted},
    "scikit-learn's names": lambda label, predicted: {"y_true": label, "y_pred": predicted},
    "plural names": lambda label, predicted: {"labels": label, "preds": predicted},
    "logits alone": lambda label, predicted: {"label": label, "logits": 3.0 * one_hot(predicted)},
    "probabilities alone": lambda label, predicted: {"label": label, "probabilities": one_hot(predicted) * 0.6 + 0.08},
    "logits with names": lambda label, predicted: {
        "label": np.char.add("c", label.astype(str)),
        "logits": 3.0 * one_hot(predicted),
        "class_names": np.array([f"c{place}" for place in range(CLASSES)]),
    },
}


@pytest.mark.parametrize("arrays", NPZ.values(), ids=NPZ)
def test_arrays_of_other_shapes_and_names_are_read_alike(tmp_path, plain, arrays):
    for side, own in networks().items():
        (tmp_path / side).mkdir()
        for number, table in enumerate(own):
            classes = (table[name].str[1:].astype(int).to_numpy() for name in ("label", "predicted"))
            np.savez(tmp_path / side / f"{number}.npz", **arrays(*classes))
    table = audited(tmp_path).table
    table["class"] = "c" + table["class"].str.removeprefix("c")
    pd.testing.assert_frame_equal(table, plain.table)


@pytest.mark.parametrize("name", ["3.csv.zip", "3.jsonl.gz", "3.tsv.xz", "3.PKL"])
def test_no_file_of_predictions_in_a_folder_is_left_out_without_a_word(tmp_path, name):
    folder = write(tmp_path, networks())
    (folder / "after" / name).write_bytes(b"PK\3\4")
    with pytest.raises(StudyError, match=rf"{name} cannot be read, .*save it as CSV, or move it away"):
        audited(folder)
