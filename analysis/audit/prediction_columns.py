"""Find the columns of labels, predicted classes and probabilities in a table of predictions."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from analysis.common.errors import StudyError
from analysis.common.printable import shortened
from analysis.runs import schema

# Names of the columns in other tools; a column with the name that this project uses is preferred.
USUAL_NAMES = {
    schema.LABEL: (
        *("label", "labels", "y_true", "true_label", "true_labels", "true", "true_class", "target", "targets"),
        *("ground_truth", "gt", "actual"),
    ),
    schema.PREDICTED: (
        *("predicted", "prediction", "predictions", "pred", "preds", "y_pred", "predicted_label", "predicted_labels"),
        *("predicted_class", "pred_label", "pred_class"),
    ),
}
_PROBABILITY = re.compile(
    r"(?:p_?(?=[0-9])|(?:prob|probs|proba|probability|probabilities|p)[_ .:\-])(.+)", re.IGNORECASE
)
_NO_CLASS = {"predicted", "prediction", "label", "value"}


class ColumnNames(NamedTuple):
    """Names that a user gives to the columns, or arrays, of labels and predicted classes; None for the usual ones."""

    label: str | None = None
    predicted: str | None = None


class Columns(NamedTuple):
    """Positions of the columns in a table.

    Attributes
    ----------
    label : int
    predicted : int, optional
        None if the predicted classes follow from the probabilities.
    probabilities : dict of str to int
        Position by class; empty if there are none.
    """

    label: int
    predicted: int | None
    probabilities: Mapping[str, int]


USUAL = ColumnNames()


def find(path: Path, header: Sequence[str], wanted: ColumnNames = USUAL) -> Columns:
    """Find the columns of a table of predictions.

    Parameters
    ----------
    path : Path
        The file, for error messages.
    header : sequence of str
        The names of its columns.
    wanted : ColumnNames

    Raises
    ------
    StudyError
        If a column is missing or ambiguous.

    Examples
    --------
    >>> find(Path("a.csv"), ["file", "y_true", "y_pred"])
    Columns(label=1, predicted=2, probabilities={})
    >>> find(Path("a.csv"), ["label", "prob_cat", "prob_dog"])
    Columns(label=0, predicted=None, probabilities={'cat': 1, 'dog': 2})
    """
    probabilities = probability_columns(header)
    label, predicted = (place(path, header, name, own) for name, own in zip(USUAL_NAMES, wanted, strict=True))
    missing = [schema.LABEL] * (label is None) + [schema.PREDICTED] * (predicted is None and not probabilities)
    if missing or label is None:
        raise StudyError(
            f"{path}: no column {' and no column '.join(missing)}; the first line must have {','.join(USUAL_NAMES)} "
            f"but is {shortened(','.join(header)[:60])}: rename the columns, or name them with --label-column and "
            "--predicted-column"
        )
    if probabilities:
        _check_probabilities(path, header)
    return Columns(label, predicted, probabilities)


def probability_columns(header: Sequence[str]) -> dict[str, int]:
    """Return the positions of columns such as `prob_cat` or `p0` by class; empty if there are fewer than two."""
    places = {name: place for place, name in _probability_classes(header).items()}
    return places if len(places) > 1 else {}


def _probability_classes(header: Sequence[str]) -> dict[int, str]:
    """Return the class of each column of probabilities, by its position."""
    matches = {place: _PROBABILITY.fullmatch(name) for place, name in enumerate(header)}
    return {place: match[1] for place, match in matches.items() if match and match[1].casefold() not in _NO_CLASS}


def _check_probabilities(path: Path, header: Sequence[str]) -> None:
    """Raise a StudyError if two columns have the probability of the same class."""
    classes = _probability_classes(header)
    for name, count in Counter(classes.values()).items():
        if count > 1:
            columns = " and ".join([header[place] for place, each in classes.items() if each == name][:2])
            raise StudyError(
                f"{path}: the columns {columns} both have the probability of class {name}: remove one of them"
            )


def place(path: Path, header: Sequence[str], name: str, own: str | None = None, what: str = "column") -> int | None:
    """Return the position of the column that the user names, by default of one with a usual name; None without one.

    `what` is the word for a column in error messages.
    """
    usual = [place for place, each in enumerate(header) if each.casefold().replace(" ", "_") in USUAL_NAMES[name]]
    places = [place for place, each in enumerate(header) if each == (own or name)] or ([] if own else usual)
    option = f"{name}_column"
    if len(places) > 1:
        if len({header[place] for place in places}) == 1:
            raise StudyError(f"{path}: two {what}s have the name {header[places[0]]}; rename one of them")
        names = " and ".join(header[place] for place in places[:2])
        raise StudyError(f"{path}: the {what}s {names} may both hold the {name} classes: say which does", option=option)
    if own and not places:
        raise StudyError(
            f"{path}: no {what} {shortened(own)}; the {what}s are {shortened(','.join(header)[:60])}", option=option
        )
    return places[0] if places else None
