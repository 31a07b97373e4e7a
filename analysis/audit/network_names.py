"""Match the networks of several sides by the names of their files."""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import PurePath
from typing import NamedTuple

from analysis.common.errors import StudyError, option_name
from analysis.runs import schema
from analysis.runs.checks import some

# A part of a file name: a word or a number.
Part = str | int
# The location of a part: the word before it, and the number of earlier parts that follow the same word.
Location = tuple[str, int]
Key = frozenset[tuple[Location, Part]]
# A sign is part of the number unless a letter or digit precedes the sign: -1 in `t_-1`, but 1 in `t-1`.
_WHOLE = r"(?:(?<![^\W_])[-+])?\d+"
# Decimal places and signed exponents stay strings, so that .1 differs from .01, and 1e-3 from 1e3.
_PART = re.compile(rf"(?<=\d)\.\d+|(?<=\d)e[-+]\d+|{_WHOLE}|[^\W\d_]+|[-+](?!\w)")
_KIND = re.compile(r"\.(npz|npy|(csv|tsv)(\.gz)?|parquet|feather|arrow|jsonl|ndjson)$", re.IGNORECASE)
_ANY_WORD = "*"


class _Side(NamedTuple):
    """Words and numbers in the file names of one side, such as the files of `before`.

    Attributes
    ----------
    differing : list of mapping of location to part
        For each name, the parts in which the names of the side differ, by location.
    constant : set of str
        The words that precede a number which is the same in all names of the side.
    """

    differing: list[dict[Location, Part]]
    constant: set[str]

    @property
    def words(self) -> set[str]:
        """The words before the differing parts."""
        return {word for parts in self.differing for word, _ in parts}


def natural(name: str) -> tuple[list[Part], str]:
    """Return a sort key that orders numbers in names by their value.

    Examples
    --------
    >>> sorted(["seed_10", "seed_9"], key=natural)
    ['seed_9', 'seed_10']
    """
    parts = re.split(r"(\d+)", name)
    return [int(part) if index % 2 else part for index, part in enumerate(parts)], name


def is_table(name: str) -> bool:
    """Return whether a file's name ends like that of a readable table of predictions.

    Examples
    --------
    >>> is_table("seed_1.CSV"), is_table("seed_1.csv.gz"), is_table("seed_1.png")
    (True, True, False)
    """
    return bool(_KIND.search(name))


def matched(sides: Mapping[str, Sequence[str]]) -> dict[str, list[int]]:
    """Return, for every side, the order that matches its files to those of the first side.

    A file is identified by the parts of its path in which the files of its side differ. Numbers are compared by value,
    and words regardless of case. Each part is labelled by the word before it, such as seed for the 3 in `seed_3`. A
    label may differ between sides, as in `dense_3` and `pruned_3`, if it is the only label of its side that not all
    sides have, and if it does not precede a number that is the same in all names of another side.

    Parameters
    ----------
    sides : mapping of str to sequence of str
        Paths by side, such as `before`: the same number for each side, at least two.

    Returns
    -------
    dict of str to list of int
        Indices of the files of each side.

    Raises
    ------
    StudyError
        If two files of a side cannot be told apart, or a file has no partner on another side.

    Examples
    --------
    >>> matched({"before": ["a/seed_2.csv", "a/seed_10.csv"], "after": ["b/pruned_10.npz", "b/pruned_02.npz"]})
    {'before': [0, 1], 'after': [1, 0]}
    """
    keys = dict(zip(sides, _keys([_side(paths) for paths in sides.values()]), strict=True))
    for option, own in keys.items():
        if alike := [path for path, key in zip(sides[option], own, strict=True) if own.count(key) > 1]:
            raise StudyError(f"{some(alike, 2)} have the same numbers and words in their names; {_HINT}", option=option)
    everywhere = frozenset.intersection(*map(frozenset, keys.values()))
    alone = {
        option: [path for path, key in zip(sides[option], own, strict=True) if key not in everywhere]
        for option, own in keys.items()
    }
    if any(alone.values()):
        unmatched = "; ".join(f"{option_name(option)} {some(paths, 10)}" for option, paths in alone.items() if paths)
        raise StudyError(f"no file with the same number or name matches {unmatched}; {_HINT}", option=[*alone][-1])
    first = next(iter(keys.values()))
    return {option: [own.index(key) for key in first] for option, own in keys.items()}


def of_other_networks(sides: Mapping[str, Sequence[str]], reference: str) -> set[str]:
    """Return the sides that have no file with the same numbers and words as a file of a reference side.

    Parameters
    ----------
    sides : mapping of str to sequence of str
        As for `matched`.
    reference : str
        One of the sides.

    Examples
    --------
    >>> sides = {"after": ["a/seed_2.csv", "a/seed_3.csv"], "control": ["b/seed_7.csv", "b/seed_8.csv"]}
    >>> of_other_networks(sides, "after")
    {'control'}
    """
    keys = dict(zip(sides, _keys([_side(paths) for paths in sides.values()]), strict=True))
    return {side for side, own in keys.items() if side != reference and not set(own) & set(keys[reference])}


_HINT = "rename the files, or add --pair-by-order to pair them in the order given"


def _keys(sides: Sequence[_Side]) -> list[list[Key]]:
    """Return a key for each file of each side: the parts that identify it, with the words before them."""
    common_words = set.intersection(*(side.words for side in sides))
    keys = []
    for side in sides:
        own = side.words - common_words
        elsewhere = set().union(*(other_side.constant for other_side in sides if other_side is not side))
        any_word = own if len(own) == 1 and not own & elsewhere else ()
        keys.append(
            [
                frozenset(((_ANY_WORD if word in any_word else word, nth), part) for (word, nth), part in parts.items())
                for parts in side.differing
            ]
        )
    return keys


def _side(paths: Sequence[str]) -> _Side:
    rows = [_parts(path) for path in paths]
    if len({len(row) for row in rows}) > 1:
        return _of_unlike_names(rows)
    locations: list[Location | None] = []
    constant, word, parts_after = set(), "", Counter[str]()
    for column in zip(*rows, strict=True):
        part, is_constant = column[0], len(set(column)) == 1
        locations.append(None if is_constant else (word, parts_after[word]))
        if not is_constant:
            parts_after[word] += 1
        elif isinstance(part, str):
            word = part
        else:
            constant.add(word)
            word = ""
    differing = [{location: part for location, part in zip(locations, row, strict=True) if location} for row in rows]
    return _Side(differing, constant)


def _of_unlike_names(rows: Sequence[list[Part]]) -> _Side:
    """Return the parts between the common start and the common final words of all names, labelled by their position."""
    rows = [row[_common(rows) :] for row in rows]
    ends = [[*takewhile(lambda part: isinstance(part, str), reversed(row))] for row in rows]
    rows = [row[: len(row) - _common(ends)] for row in rows]
    return _Side([{("", index): part for index, part in enumerate(row)} for row in rows], set())


def _common(rows: Sequence[list[Part]]) -> int:
    """Return the number of leading parts that all rows have in common."""
    return sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, zip(*rows, strict=False)))


def _parts(path: str) -> list[Part]:
    """Return the words and numbers of a path or, for a `predictions.npz`, of its folder's path."""
    name = str(PurePath(path).parent) if PurePath(path).name == schema.PREDICTIONS else _KIND.sub("", path)
    parts = _PART.findall(unicodedata.normalize("NFC", name).casefold())
    return [int(part) if re.fullmatch(_WHOLE, part) else part for part in parts]
