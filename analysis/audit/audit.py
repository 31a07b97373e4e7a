"""Audit a compressed classifier from predictions alone, without a tracking server or training."""

import tempfile
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from analysis.audit import (
    class_counts,
    class_order,
    confidences,
    copies,
    metrics,
    populations,
    prediction_files,
    prediction_sources,
)
from analysis.audit.class_counts import ClassCounts
from analysis.audit.prediction_columns import USUAL, ColumnNames
from analysis.audit.result import WHAT_IS_CHANCE, Audit
from analysis.common import class_arrays
from analysis.common.errors import StudyError
from analysis.common.input_files import SizeLimit
from analysis.common.printable import shortened
from analysis.compare import group_text
from analysis.compare.comparison import Comparison
from analysis.runs.checks import some
from analysis.statistics import groups as image_groups


def audit(
    before: Sequence[str],
    after: Sequence[str],
    control: Sequence[str] = (),
    *,
    groups: Path | None = None,
    max_data_gib: float = 1.0,
    pair_by_order: bool = False,
    columns: ColumnNames = USUAL,
    keep_class_order: bool = False,
    ignore_label: str | None = None,
) -> Audit:
    """Compare stored predictions before and after compression.

    Parameters
    ----------
    before, after, control : sequence of str
        Files, globs, folders or run ids, in any form that `prediction_sources.find` accepts. A file is an .npz archive
        with arrays `label` and `predicted`, a table with columns of these names, or a file of class counts in a format
        of `class_counts.read`. Several files are paired by their names, as in `network_names.matched`; several runs are
        paired by their dense runs or, failing that, in the order given. If the networks of `before` or `control` share
        no seed with those of `after`, the networks of the two sides are treated as independent.
    groups : Path, optional
        File of groups of test images, in the format of `groups.read`. The audit then tests groups instead of classes.
        The file must name the images if the files of predictions list them in different orders.
    max_data_gib : float
        Largest memory, in GiB, for the arrays in one file.
    pair_by_order : bool
        Whether several files are paired in the order given instead of by name. Files of a glob or a folder are sorted
        by name and number.
    columns : ColumnNames
        Names of the columns of labels and predictions in tables, or of their arrays in .npz files, if they are unusual.
    keep_class_order, ignore_label
        As for `audit_predictions`.

    Raises
    ------
    StudyError
        If predictions are missing, given twice, damaged, too large, or not for the same images as those of the first
        file, if file names do not match, if groups are given with class counts, or for the reasons given in
        `audit_predictions`.
    """
    limit = SizeLimit(max_data_gib, "max_data_gib")
    with tempfile.TemporaryDirectory() as downloads:
        sides = {"before": before, "after": after, "control": control}
        read = read_sides(sides, Path(downloads), limit, pair_by_order, columns, only_pairs=False)
        paths = {side: list(names) for side, names in read.networks_by_path.items()}
        if groups and read.is_of_counts:
            raise StudyError(
                f"groups need the predictions of each image, but {paths['before'][0]} contains class counts: give "
                "predictions, or leave out the groups",
                option="groups",
            )
        without_counts = {} if read.is_of_counts else paths
        of_sides, without = metrics.confidences_of_files(without_counts, read.networks, limit, read.orders)
    label, networks = read.label, read.networks
    of_images = (
        image_groups.read(groups, len(label), read.image_names, needs_names=bool(read.orders)) if groups else None
    )
    result = audit_predictions(
        label,
        networks["before"],
        networks["after"],
        networks["control"] if control else None,
        of_images.groupings if of_images else None,
        keep_class_order=keep_class_order or read.is_of_counts,
        ignore_label=ignore_label,
        unpaired=read.unpaired,
        confidences=of_sides,
        network_names=list(read.networks_by_path["after"].values()),
    )
    own_pairs = prediction_sources.own_pairs(read.networks_by_path)
    alone = [own_pairs.get(name, "") for name in result.comparison.network_names]
    result = result._replace(comparison=replace(result.comparison, alone=alone))
    described = prediction_sources.described(read.networks_by_path, read.unpaired)
    if read.is_of_counts:
        real = replace(result.comparison, predicted={}, are_counts=True)
        result = result._replace(comparison=real, metrics=pd.DataFrame())
    return result._replace(notes=[*described, *read.notes, *result.notes, *without])


class AuditedPredictions(NamedTuple):
    """Predictions of an audit by side (`before`, `after`, `control`): files, labels, predictions (networks, images).

    `orders`, `image_names` and `notes` are those of `prediction_files.Predictions`. The networks of the sides in
    `unpaired` have other seeds than those of `after`. If `is_of_counts`, the predictions are invented: only their
    counts are real.
    """

    networks_by_path: dict[str, dict[Path, str]]
    label: np.ndarray
    networks: dict[str, np.ndarray]
    orders: dict[Path, np.ndarray]
    image_names: list[str] | None
    notes: list[str]
    unpaired: frozenset[str] = frozenset()
    is_of_counts: bool = False


def read_sides(
    sources_by_side: Mapping[str, Sequence[str]],
    downloads: Path,
    limit: SizeLimit,
    pair_by_order: bool,
    columns: ColumnNames = USUAL,
    *,
    only_pairs: bool = True,
) -> AuditedPredictions:
    """Read the predictions of each side and pair their networks; other parameters and errors are as in `audit`.

    Parameters
    ----------
    sources_by_side : mapping of str to sequence of str
        Sources of the sides before, after and control.
    downloads : Path
        Folder that the predictions of runs are downloaded to.
    only_pairs : bool
        Whether to raise an error if the networks of a side have other seeds than those of `after`, unless they are
        paired by order.
    """
    networks = {side: prediction_sources.find(sources, side, downloads) for side, sources in sources_by_side.items()}
    prediction_sources.check_control(networks)
    others = prediction_sources.of_other_seeds(networks)
    unpaired = frozenset() if only_pairs or pair_by_order else frozenset(others)
    networks = prediction_sources.in_pairs(networks, by_order=pair_by_order, unpaired=unpaired)
    paths = [path for side in networks.values() for path in side]
    counts = {path: class_counts.read(path, limit) for path in paths}
    if any(counts.values()):
        own = {path: each for path, each in counts.items() if each is not None}
        return _of_counts(networks, own, is_audit=not only_pairs)
    read = prediction_files.read(paths, limit, columns)
    names = [name for side in networks.values() for name in side.values()]
    by_name = dict(zip(names, read.predicted, strict=True))
    _check(np.unique(read.label), by_name)
    if only_pairs:
        _check_labels(np.unique(read.label), by_name)
    confidences.check(paths, read.predicted, limit, read.orders)
    ends = np.cumsum([len(side) for side in networks.values()])
    predicted = dict(zip(sources_by_side, np.split(read.predicted, ends[:-1]), strict=True))
    if others and only_pairs and not pair_by_order:
        raise StudyError("these runs start from other dense runs than those of --after: give pairs", option=min(others))
    notes = [*_paired_by_order(others), *read.notes] if pair_by_order else read.notes
    return AuditedPredictions(networks, read.label, predicted, read.orders, read.image_names, notes, unpaired)


def _paired_by_order(sides: Collection[str]) -> list[str]:
    """Return a note for each side that is paired in the order given although its names or runs do not match."""
    return [
        f"The networks {where} are paired with those after in the order given, although their names or runs do not "
        "match."
        for side, where in (("before", "before"), ("control", "of the control"))
        if side in sides
    ]


def _of_counts(
    networks: dict[str, dict[Path, str]], counts: Mapping[Path, ClassCounts], *, is_audit: bool
) -> AuditedPredictions:
    """Return predictions that have the given class counts, for one network on each side of an audit."""
    paths = {path for side in networks.values() for path in side}
    if not is_audit or len(counts) < len(paths) or [*map(len, networks.values())] not in ([1, 1, 0], [1, 1, 1]):
        raise StudyError(
            f"{next(iter(counts))} contains class counts: give class counts of one network on each side of an audit, "
            "or give the predictions of all networks"
        )
    class_counts.check_alike(counts)
    sides = {side: counts[next(iter(own))] for side, own in networks.items() if own}
    label, predicted = class_counts.as_predictions(sides)
    return AuditedPredictions(networks, label, predicted, {}, None, [class_counts.NOTE], is_of_counts=True)


def audit_predictions(
    label: ArrayLike,
    before: ArrayLike,
    after: ArrayLike,
    control: ArrayLike | None = None,
    groups: ArrayLike | Mapping[str, ArrayLike] | None = None,
    class_names: Sequence[str] | Mapping[Any, str] | None = None,
    *,
    keep_class_order: bool = False,
    ignore_label: int | str | None = None,
    unpaired: str | Collection[str] | None = (),
    confidences: Mapping[str, ArrayLike] | None = None,
    network_names: Sequence[str] = (),
) -> Audit:
    """Find the classes that lost recall when a classifier was compressed, and say whether compression is to blame.

    With one network before and one after, losses are those of these two networks on new images: they have Tango's
    intervals, and p is McNemar's. With several pairs, losses are means over networks, and intervals and p account for
    the variance over networks and over images (`statistics.losses.spread`).

    A pair with a network at chance has no alpha, but is included in all other numbers; `.chance_level` counts such
    networks. If a network before is at chance, or has recall 0 in a class, the verdict says so first.

    Parameters
    ----------
    label : (images,), text or integers
        True class of each image.
    before, after : (images,) or (networks, images)
        Predicted classes before and after compression. If both have the same number of networks, their rows are pairs
        unless `unpaired` says otherwise. A single network before is compared with all after. With any other numbers the
        networks are treated as independent, and alpha is undefined.
    control : (images,) or (networks, images), optional
        Predictions of the control: the networks of `before`, retrained in the same way without compression. It tells
        what retraining alone did; several pairs also have losses and costs from the control. If compression involves no
        retraining, as in quantization, pass `before`; a single network is then the control of all networks of `after`.
        Otherwise, if the control and `after` have different numbers of networks, two or more each, their networks are
        treated as independent, and a note says so.
    groups : (images,) str, or mapping of str to (images,) str, optional
        The group of each image, or several groupings by name; None, NaN and an empty string mean no group. Groupings
        whose name begins with `measure:` are ignored. If groups are given, they are audited in place of classes, and
        the recall of a group is its accuracy.
    class_names : sequence or mapping, optional
        Names of the labels, all different: a sequence for the labels 0, 1, ..., or a mapping of labels to names.
    keep_class_order : bool
        Whether to accept predictions whose classes seem to be numbered differently from those of the labels or of the
        networks before. By default they are refused.
    ignore_label : int or str, optional
        Label of images that are left out, such as -1 or -100 for images without a class.
    unpaired : str or collection of str
        `before`, `control` or both, if their networks have other seeds than those of `after`, so that rows are not
        pairs.
    confidences : mapping of str to (images,) or (networks, images), optional
        The probability of the predicted class, by side (`before`, `after`, `control`), for the calibration error.
    network_names : sequence of str
        Names of the networks of `after`; by default `network 1` and so on.

    Returns
    -------
    Audit
        `.table` has a row for each class, `.damaged` the names of the classes shown to have lost recall, `.verdict` the
        answers to two questions (may the network replace the one before, and is compression to blame?), and `.metrics`
        the precision, false positive rate and, with confidences, calibration error of each class. `.gate` compares
        losses with limits. A notebook shows the table and the picture that `.plot()` draws.

    Raises
    ------
    StudyError
        If the arrays do not fit each other, if no prediction of a network is a class of the labels, if no network
        predicts a label that is a negative number, or if the predicted classes seem to be numbered differently from
        those of the labels or of the networks before.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis import audit_predictions
    >>> label = np.repeat([0, 1, 2], 50)
    >>> quantized = np.where(np.arange(150) < 130, label, 0)  # twenty images of the last class become wrong
    >>> names = ["bag", "hat", "shoe"]
    >>> result = audit_predictions(label, before=label, after=quantized, control=label, class_names=names)
    >>> result.damaged
    ['shoe']
    >>> result.table["recall_after"].tolist()
    [0.6, 1.0, 1.0]
    """
    unpaired = _unpaired(unpaired)
    if not isinstance(confidences, Mapping | None):
        raise StudyError(
            f"confidences is of type {type(confidences).__name__}: give a mapping, such as "
            'confidences={"before": ..., "after": ...}'
        )
    of_sides = {f"confidences[{side!r}]": values for side, values in (confidences or {}).items()}
    _check_indices({"label": label, "before": before, "after": after, "control": control, "groups": groups, **of_sides})
    label = _classes("label", label)
    if label.ndim != 1 or not label.size:
        raise StudyError(f"label has shape {label.shape}: give a class for each image, (images,)")
    sides = {"before": before, "after": after} | ({} if control is None else {"control": control})
    networks = {side: _networks(side, predictions, label) for side, predictions in sides.items()}
    sureness = metrics.checked_confidences(dict(confidences or {}), networks)
    groupings = {} if groups is None else image_groups.of_arrays(groups, len(label)).groupings
    if ignore_label is not None:
        kept = label.astype(str) != str(ignore_label)
        label = label.compress(kept)
        networks, sureness = ({side: each[:, kept] for side, each in sides.items()} for sides in (networks, sureness))
        groupings = {name: group[kept] for name, group in groupings.items()}
    names, class_index = np.unique(label, return_inverse=True)
    _check(names, _by_name(networks))
    _check_labels(names, networks)
    if not keep_class_order:
        class_order.check(label, networks)
    repeated = copies.repeated_images(class_index, networks)
    pairs = _pairs(networks, unpaired)
    networks, places, notes = copies.without_copies(label, networks, {*networks} - pairs)
    if "control" in pairs and len(networks["control"]) == 1:
        places["control"] = np.zeros(len(networks["after"]), int)
        networks["control"] = networks["control"][places["control"]]
    _check_independent(networks, pairs)
    _check_start(networks)
    display_names = _display_names(names, class_names)
    comparison = Comparison(
        list(map(str, display_names)),
        class_index,
        {side: predicted == label for side, predicted in networks.items()},
        frozenset(pairs),
        groupings,
        [network_names[place] if network_names else f"network {place + 1}" for place in places["after"]],
        predicted={side: _class_index(names, predicted) for side, predicted in networks.items()},
    )
    two_populations = populations.compare(
        label, networks["before"], networks["after"], display_names, groupings, paired="before" in pairs
    )
    notes = [*repeated, *notes, *_notes(names, networks, pairs), *_notes_on(comparison), *two_populations.notes]
    return Audit(
        comparison,
        notes,
        two_populations,
        metrics.table(comparison, {side: each[places[side]] for side, each in sureness.items()}),
    )


def _unpaired(sides: str | Collection[str] | None) -> set[str]:
    """Return the sides whose networks are not paired with those after."""
    names = {sides} if isinstance(sides, str) else {*(() if sides is None else sides)}
    if unknown := names - {"before", "control"}:
        raise StudyError(f"unpaired has {shortened(min(unknown, key=str))}: give before, control or both")
    return names


def _notes_on(comparison: Comparison) -> Iterator[str]:
    """Yield notes on chance level, on undefined alphas, and on each grouping as a whole."""
    if comparison.chance_level.any_at_chance:
        yield WHAT_IS_CHANCE
    for _, row in comparison.groupings.iterrows():
        yield group_text.grouping(row)
    if "before" not in comparison.pairs:
        yield "Alpha is n/a because it needs pairs of a network before and the same network after."
    yield from comparison.slope_notes


def _pairs(networks: Mapping[str, np.ndarray], unpaired: Collection[str]) -> set[str]:
    """Return the sides whose networks are paired with those after.

    A single network before is paired with all of them, and so is a single control that predicts the same.
    """
    after = len(networks["after"])
    alike = {side for side, each in networks.items() if len(each) == after} - {*unpaired}
    if len(networks["before"]) > 1:
        return alike
    is_shared = len(networks.get("control", ())) == 1 and copies.is_unretrained(networks)
    return alike | {"before"} | ({"control"} if is_shared else set())


def _class_index(names: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return the index of each predicted class among the sorted names, or -1 if it is none of them."""
    places = np.minimum(np.searchsorted(names, predicted), len(names) - 1)
    return np.where(names[places] == predicted, places, -1)


def _networks(side: str, predictions: ArrayLike, label: np.ndarray) -> np.ndarray:
    """Return the predictions of a side, (networks, images)."""
    predicted = np.atleast_2d(_classes(side, predictions))
    if predicted.ndim != 2 or predicted.shape[1] != len(label) or not len(predicted):
        raise StudyError(
            f"{side} has shape {np.shape(predictions)} for {len(label):,} labels: give a class for each image, "
            "(images,) or (networks, images)"
        )
    return predicted


def _classes(name: str, classes: ArrayLike) -> np.ndarray:
    """Return classes as an array of strings or integers."""
    values = class_arrays.without_objects(class_arrays.as_array(name, classes))
    if not values.size:
        return values
    values = class_arrays.classes(name, values)
    if values.dtype.kind == "U":
        if (values == "").any():
            raise StudyError(f"{name}: image {np.argwhere(values == '')[0][-1] + 1:,} has no class: fill it in")
        class_arrays.check_names(name, np.unique(values))
    return values


def _by_name(networks: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the predictions of each network, (images,), by the name that errors give it."""
    return {
        side if len(each) == 1 else f"{side}, network {number}": predicted
        for side, each in networks.items()
        for number, predicted in enumerate(each, 1)
    }


def _check(names: np.ndarray, networks: Mapping[str, np.ndarray]) -> None:
    """Raise a StudyError if none of the predictions of a network, (images,), is a class of the labels.

    A network that predicts only classes without test images is accepted if other networks, which also predict some of
    the labels, predict these classes too.
    """
    sound = [predicted for predicted in networks.values() if np.isin(predicted, names).any()]
    known = np.unique(np.concatenate([names, *sound]))
    for where, predicted in networks.items():
        if not np.isin(predicted, known).all() and not np.isin(predicted, names).any():
            raise StudyError(
                f"{where}: no predicted class is among the labels (labels{_kind_of(names, predicted)}: "
                f"{some(map(str, names))}; predicted{_kind_of(predicted, names)}: "
                f"{some(map(str, np.unique(predicted)))}): write each class the same way in both; "
                "a network that really predicts only classes without test images cannot be audited alone"
            )


def _check_labels(names: np.ndarray, networks: Mapping[str, np.ndarray]) -> None:
    """Raise a StudyError if no network predicts a label that is a negative number."""
    for name in names[np.char.startswith(names.astype(str), "-")]:
        if str(name)[1:].isdigit() and not any((predicted == name).any() for predicted in networks.values()):
            raise StudyError(
                f"no network predicts the label {name}, which usually marks images without a class: leave them out "
                f"(audit --ignore-label {name}; in Python, ignore_label={name})"
            )


def _check_start(networks: Mapping[str, np.ndarray]) -> None:
    """Raise a StudyError if there are several networks before, but only one network after and one control."""
    before = len(networks["before"])
    if before > 1 and "control" in networks and len(networks["control"]) == len(networks["after"]) == 1:
        raise StudyError(
            f"{before} networks before, but one after and one control: of the networks before, give only the one from "
            "which both start, or give a network after and a control for each network before",
            option="before",
        )


def _check_independent(networks: Mapping[str, np.ndarray], pairs: Collection[str]) -> None:
    """Raise a StudyError if the control is not paired with after and one of the two is a single network."""
    if "control" not in networks or "control" in pairs:
        return
    control, after = len(networks["control"]), len(networks["after"])
    if min(control, after) == 1:
        raise StudyError(
            f"{control} network{'s' * (control > 1)} in the control and {after} after: give equally many of both, in "
            "the same order, or two or more of each if their seeds differ",
            option="control",
        )


def _kind_of(classes: np.ndarray, others: np.ndarray) -> str:
    """Return a comma and the kind of the classes if the other classes have another kind; else an empty string."""
    return "" if classes.dtype.kind == others.dtype.kind else f", {_KINDS[classes.dtype.kind]}"


_KINDS = {"U": "text", "b": "truth values", "i": "whole numbers", "u": "whole numbers"}


def _untested(names: np.ndarray, networks: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the predicted classes that have no test image."""
    return np.setdiff1d(np.concatenate([np.unique(predicted) for predicted in networks.values()]), names)


def _notes(names: np.ndarray, networks: Mapping[str, np.ndarray], pairs: Collection[str]) -> list[str]:
    """Return notes on predicted classes without test images and on the pairing of networks."""
    before, after = len(networks["before"]), len(networks["after"])
    notes = []
    if len(untested := _untested(names, networks)):
        notes.append(f"Predicted classes without a test image, which are never right: {some(map(str, untested))}.")
    if "before" in pairs and before < after:
        notes.append(f"Networks: {before} before, {after} after; the one before is compared with all after.")
    if "before" not in pairs:
        notes.append(f"Not paired: {before} networks before and {after} after, which are treated as independent.")
    if "control" in networks and "control" not in pairs:
        notes.append(
            f"Not paired: {len(networks['control'])} networks of the control and {after} after, which are treated as "
            "independent, so intervals are wider."
        )
    return notes


def _check_indices(arguments: Mapping[str, Any]) -> None:
    """Refuse pandas objects whose indices name the images differently, because images are matched by their places."""
    indices: list[tuple[str, pd.Index]] = []
    for name, value in arguments.items():
        for part in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else [value]:
            if isinstance(part, pd.Series | pd.DataFrame):
                are_networks = isinstance(part, pd.DataFrame) and name != "groups"
                indices.append((name, part.columns if are_networks else part.index))
    for name, index in indices[1:]:
        first, reference = indices[0]
        is_text = {index.inferred_type, reference.inferred_type} == {"string"}
        if not index.equals(reference) and (is_text or index.sort_values().equals(reference.sort_values())):
            raise StudyError(
                f"{name} has another index than {first}: if the index identifies images, give "
                f"{name}.reindex({first}.index), otherwise {name}.to_numpy()"
            )


def _display_names(names: np.ndarray, class_names: Sequence[str] | Mapping[Any, str] | None) -> np.ndarray:
    if class_names is None:
        return names
    if isinstance(class_names, str | bytes) or not isinstance(class_names, Sequence | Mapping | np.ndarray | pd.Series):
        raise StudyError(f"class_names is {shortened(class_names)}: give a list of names, or a name for each label")
    names_by_label = dict(class_names) if isinstance(class_names, Mapping | pd.Series) else dict(enumerate(class_names))
    if not_texts := [name for name in names_by_label.values() if not isinstance(name, str)]:
        raise StudyError(f"class_names has {shortened(not_texts[0])}, which is not a string: write each name in quotes")
    class_arrays.check_names("class_names", names_by_label.values())
    if "" in names_by_label.values() or len(set(names_by_label.values())) < len(names_by_label):
        name, _ = Counter(names_by_label.values()).most_common(1)[0]
        fault = "an empty name" if "" in names_by_label.values() else f"the name {shortened(name)} twice"
        raise StudyError(f"class_names has {fault}: give each class a different name")
    if missing := [name for name in names.tolist() if name not in names_by_label]:
        raise StudyError(
            f"class_names has {len(names_by_label):,} names, but none for label {missing[0]}: name every class"
        )
    return np.array([names_by_label[name] for name in names.tolist()])
