"""Find predictions in files, folders, globs or runs of the tracking store, and pair the networks."""

import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from analysis.audit import prediction_files
from analysis.audit.network_names import is_table, matched, natural, of_other_networks
from analysis.common import arrow_tables
from analysis.common.errors import StudyError
from analysis.runs import schema
from analysis.runs.checks import some

_RUN = re.compile(r"(?:runs:/)?([0-9a-f]{32})")
_RUN_NAME = "run "
_MOST_PAIRS = 10
# Files that may contain predictions but cannot be read.
_UNREAD = re.compile(r"\.(xlsx?|pkl|pickle|(csv|tsv)\.(zip|xz|bz2|zst)|(jsonl|ndjson|parquet)\.\w+)$", re.IGNORECASE)
_NO_PREDICTIONS = {schema.VAL_PREDICTIONS, schema.PER_CLASS, schema.CONFUSION}


def find(sources: Sequence[str], option: str, downloads: Path) -> dict[Path, str]:
    """Return the names of the prediction files, by path: one file per network.

    Parameters
    ----------
    sources : sequence of str
        Paths, globs, folders, or ids of runs. A folder with `predictions.npz`, such as the artifacts of a run, is one
        network. In any other folder, every .npz file, every table and every folder with `predictions.npz` is a network,
        sorted by name and number.
    option : str
        The command-line option of these sources, for error messages.
    downloads : Path
        Folder that predictions on a server are downloaded to.

    Raises
    ------
    StudyError
        If there is no such file or run, if it has no predictions, or if it is given twice.
    """
    names: dict[Path, str] = {}
    for source in sources:
        if source and Path(source).is_dir():
            own_names = {path: str(path) for path in _in_folder(Path(source), option)}
        elif (run := _RUN.fullmatch(source)) and not Path(source).exists():
            own_names = {_of_run(run[1], option, downloads): f"{_RUN_NAME}{run[1]}"}
        else:
            own_names = {path: str(path) for path in prediction_files.find([source], option)}
        if twice := names.keys() & own_names.keys():
            raise StudyError(
                f"{names[twice.pop()]} is given twice but each file must be of a different seed", option=option
            )
        names |= own_names
    prediction_files.find([str(path) for path in names], option)  # raises an error if one file has two names
    return names


def check_control(networks: Mapping[str, dict[Path, str]]) -> None:
    """Raise a StudyError if a network after compression is also given as a control, unless it is also one before.

    Parameters
    ----------
    networks : mapping of str to dict
        Result of `find` for each side, by the name of the side.
    """
    files = {side: {path.resolve(): name for path, name in own.items()} for side, own in networks.items()}
    if twice := files["control"].keys() & files["after"].keys() - files["before"].keys():
        raise StudyError(
            f"{files['control'][min(twice)]} is also in --after, so the compressed network would be "
            "compared with itself: give the uncompressed network, trained as long as the compressed one",
            option="control",
        )


def own_pairs(networks: Mapping[str, dict[Path, str]]) -> dict[str, str]:
    """Return the command that audits each network after compression alone, by its name; sides are as in `find`."""
    before, after = ([*networks[side].values()] for side in ("before", "after"))
    starts = before * len(after) if len(before) == 1 else before
    source = {name: shlex.quote(name.removeprefix(_RUN_NAME)) for name in [*before, *after]}
    return {
        name: f"pruning-analysis audit --before {source[start]} --after {source[name]}"
        for start, name in zip(starts, after, strict=False)
    }


def of_other_seeds(networks: Mapping[str, dict[Path, str]]) -> set[str]:
    """Return the sides that share no seed with `after`, judged by file names or, for runs, by their dense runs.

    Parameters
    ----------
    networks : mapping of str to dict
        Result of `find` for each side, by the name of the side.
    """
    sides = _several(networks)
    if len(sides) < 2:
        return set()
    if _are_files(sides):
        return of_other_networks({side: list(names.values()) for side, names in sides.items()}, "after")
    dense = _dense_runs(sides)
    return {side for side, own in dense.items() if not {*own} & {*dense["after"]}}


def in_pairs(
    networks: Mapping[str, dict[Path, str]], *, by_order: bool, unpaired: Collection[str] = ()
) -> dict[str, dict[Path, str]]:
    """Return the networks of each side, those of paired sides in the order of the first paired side.

    A side is paired if it has as many networks as `after`, and more than one.

    Parameters
    ----------
    networks : mapping of str to dict
        Result of `find` for each side, by the name of the side.
    by_order : bool
        Whether to keep the order given. Otherwise, runs are reordered only if each side has exactly one run for every
        dense run.
    unpaired : collection of str
        Sides whose networks are not paired with the others.

    Raises
    ------
    StudyError
        If the files cannot be paired by their names.
    """
    sides = _several(networks, unpaired)
    if by_order or len(sides) < 2:
        return dict(networks)
    if _are_files(sides):
        orders = matched({side: list(names.values()) for side, names in sides.items()})
    else:
        orders = _orders(_dense_runs(sides))
    if not orders:
        return dict(networks)
    items = {side: list(names.items()) for side, names in sides.items()}
    return {**networks, **{side: dict(items[side][index] for index in orders[side]) for side in sides}}


def described(networks: Mapping[str, dict[Path, str]], unpaired: Collection[str] = ()) -> list[str]:
    """Return notes that list the networks of each side that is not paired, and the pairs of networks."""
    several = _several(networks, unpaired)
    pairs = several if len(several) > 1 else {}
    sides = [
        f"{side.capitalize()}: {some(networks[side].values())}."
        for side in networks
        if networks[side] and side not in pairs
    ]
    lines = [
        f"Pair {number}: {', '.join(f'{side} {name}' for side, name in zip(pairs, names, strict=True))}."
        for number, names in enumerate(zip(*(side_names.values() for side_names in pairs.values()), strict=True), 1)
    ]
    more = [f"And {len(lines) - _MOST_PAIRS:,} more pairs."] if len(lines) > _MOST_PAIRS else []
    return [" ".join(sides)] * bool(sides) + lines[:_MOST_PAIRS] + more


def _several(networks: Mapping[str, dict[Path, str]], unpaired: Collection[str] = ()) -> dict[str, dict[Path, str]]:
    """Return the sides with as many networks as `after`, except `unpaired`; none if `after` has one network."""
    count = len(networks["after"])
    return {side: names for side, names in networks.items() if len(names) == count > 1 and side not in unpaired}


def _are_files(sides: Mapping[str, dict[Path, str]]) -> bool:
    """Return whether all networks come from files, not from runs."""
    return all(str(path) == name for names in sides.values() for path, name in names.items())


def _dense_runs(sides: Mapping[str, dict[Path, str]]) -> dict[str, list[str]]:
    """Return the dense run of each network, by side; empty unless all networks are runs with a dense run."""
    from analysis.runs import pull  # an audit of files needs neither MLflow nor a store

    runs = {side: [name.removeprefix(_RUN_NAME) for name in names.values()] for side, names in sides.items()}
    if not all(name.startswith(_RUN_NAME) for names in sides.values() for name in names.values()):
        return {}
    dense = pull.dense_runs([run for own in runs.values() for run in own])
    if any(run not in dense for own in runs.values() for run in own):
        return {}
    return {side: [dense[run] for run in own] for side, own in runs.items()}


def _orders(dense: Mapping[str, list[str]]) -> dict[str, list[int]]:
    """Return, for every side, the order that matches its runs to the first side's; empty if the runs do not match."""
    first = next(iter(dense.values()), [])
    if any(len(own) != len({*own}) or {*own} != {*first} for own in dense.values()):
        return {}
    return {side: [own.index(run) for run in first] for side, own in dense.items()}


def _in_folder(folder: Path, option: str) -> list[Path]:
    if (own := folder / schema.PREDICTIONS).is_file():
        return [own]
    if arrow_tables.is_saved_dataset(folder):
        return [folder]
    files = [path for path in folder.iterdir() if is_table(path.name) and path.name not in _NO_PREDICTIONS]
    if unread := [path for path in folder.iterdir() if _UNREAD.search(path.name)]:
        raise StudyError(
            f"{unread[0]} cannot be read, and the other files in {folder} would be audited without it: save it as CSV, "
            "or move it away",
            option=option,
        )
    saved = [path for path in folder.iterdir() if arrow_tables.is_saved_dataset(path)]
    paths = sorted([*files, *saved, *folder.glob(f"*/{schema.PREDICTIONS}")], key=lambda path: natural(str(path)))
    if not paths:
        raise StudyError(f"{folder}: no predictions in this folder (.npz, .csv or another table)", option=option)
    return paths


def _of_run(run_id: str, option: str, downloads: Path) -> Path:
    from analysis.runs import pull  # an audit of files needs neither MLflow nor a store

    paths = pull.files_of(run_id, [schema.PREDICTIONS, schema.PER_CLASS], downloads / run_id)
    if schema.PREDICTIONS not in paths:
        raise StudyError(
            f"run {run_id} is not in this tracking store, or has no {schema.PREDICTIONS}: name a dense or a pruned run",
            option=option,
        )
    return paths[schema.PREDICTIONS]
