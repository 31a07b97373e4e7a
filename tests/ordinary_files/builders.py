"""Files as people have them, a small builder each: 300 images of five classes, two networks before and two after."""

import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

IMAGES, CLASSES = 300, 5
NAMES = np.array([f"val/img_{place:04}.jpg" for place in range(IMAGES)])


def _predicted(label: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    return np.where(wrong, (label + 1) % CLASSES, label)


def networks() -> dict[str, list[pd.DataFrame]]:
    """Return the label and the predicted class of each image, of two networks before and two after.

    Six of the 60 images of each class are wrong before, and after 12 more of class c0, which so loses 20 points.
    """
    label = np.arange(IMAGES) % CLASSES
    sides: dict[str, list[pd.DataFrame]] = {"before": [], "after": []}
    for network in range(2):
        draw = np.random.default_rng(network)
        images = np.array([draw.permutation(np.flatnonzero(label == each)) for each in range(CLASSES)])
        wrong = np.isin(np.arange(IMAGES), images[:, :6])
        lost = np.isin(np.arange(IMAGES), images[0, 6:18])
        for side, own in (("before", wrong), ("after", wrong | lost)):
            texts = [np.char.add("c", each.astype(str)) for each in (label, _predicted(label, own))]
            sides[side].append(pd.DataFrame(dict(zip(("label", "predicted"), texts, strict=True))))
    return sides


def shuffled(table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Return the rows in another order in which the labels stay where they are."""
    draw = np.random.default_rng(seed)
    order = np.arange(len(table))
    for rows in table.groupby("label").indices.values():
        order[rows] = draw.permutation(rows)
    return table.iloc[order].reset_index(drop=True)


def write(folder: Path, tables: dict[str, list[pd.DataFrame]], ending: str = ".csv", **how: object) -> Path:
    """Write each network to a file `before/1.csv`, and so on."""
    for side, own in tables.items():
        (folder / side).mkdir(parents=True, exist_ok=True)
        for number, table in enumerate(own, 1):
            write_table(table, folder / side / f"{number}{ending}", **how)
    return folder


def write_table(table: pd.DataFrame, path: Path, **how: object) -> None:
    """Write a table in the format that the name of the file says."""
    kind = path.name.partition(".")[2].lower()
    if kind == "parquet":
        table.to_parquet(path, index=False)
    elif kind == "feather":
        table.to_feather(path)
    elif kind in ("jsonl", "ndjson"):
        path.write_text("\n".join(json.dumps(row) for row in table.to_dict("records")), encoding="utf-8")
    elif kind == "npy":
        np.save(
            path,
            table.astype(dict.fromkeys(table, "U9")).to_records(index=False).astype([(name, "U9") for name in table]),
        )
    elif kind == "npz":
        np.savez(path, **{name: table[name].to_numpy(str) for name in table})
    elif kind == "csv.gz":
        path.write_bytes(gzip.compress(table.to_csv(index=False).encode()))
    elif kind == "arrow":
        with (
            pa.OSFile(str(path), "wb") as file,
            pa.ipc.new_file(file, (rows := pa.Table.from_pandas(table)).schema) as out,
        ):
            out.write_table(rows)
    else:
        table.to_csv(path, index=False, **{"sep": "\t" if kind == "tsv" else ",", **how})


def save_dataset(table: pd.DataFrame, folder: Path) -> None:
    """Write a table as Hugging Face's `Dataset.save_to_disk` does."""
    folder.mkdir(parents=True)
    (folder / "state.json").write_text('{"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}', encoding="utf-8")
    rows = pa.Table.from_pandas(table)
    with (
        pa.OSFile(str(folder / "data-00000-of-00001.arrow"), "wb") as file,
        pa.ipc.new_stream(file, rows.schema) as out,
    ):
        out.write_table(rows)


def changed(change: "object", sides: tuple[str, ...] = ("after",)) -> dict[str, list[pd.DataFrame]]:
    """Return the networks, those of some sides changed by a function of a table."""
    return {
        side: [change(table) for table in own] if side in sides else own  # type: ignore[operator]
        for side, own in networks().items()
    }


def named(column: str, order: bool = True) -> dict[str, list[pd.DataFrame]]:
    """Return the networks with names of the images; those after have them in another order."""
    sides = changed(lambda table: table.assign(**{column: NAMES}), ("before", "after"))
    return {**sides, "after": [shuffled(table, seed) for seed, table in enumerate(sides["after"])]} if order else sides
