"""Convert typed text to the values of options, with checks, and values back to text."""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.common.errors import did_you_mean
from analysis.common.printable import shortened
from analysis.runs.schema import text

LARGEST = 2**31 - 1
MOST_SEEDS = 1000
LONGEST_PARAM = 6000  # characters; MLflow cuts off the rest, and the run would not be found again
_SECONDS = {"s": 1, "m": 60, "h": 3600}
# Converts typed text to a value, or raises a ValueError that names the accepted values.
Check = Callable[[str], Any]


def nonempty_text(value: str) -> str:
    if not value.strip():
        raise ValueError("is empty")
    return utf8_text(value)


def utf8_text(value: str) -> str:
    """Return a string unchanged if MLflow can store it; otherwise raise a ValueError."""
    if "\0" in value or value != value.encode(errors="replace").decode():
        raise ValueError(f"{shortened(value)} is not text in UTF-8: rename it")
    return value


def path(value: str) -> Path:
    try:
        return Path(nonempty_text(value)).expanduser()
    except RuntimeError as error:
        raise ValueError(f"{shortened(value)}: {error}") from None


def integer(minimum: int, maximum: int = LARGEST) -> Check:
    def check(value: str) -> int:
        try:
            number = int(value)
        except ValueError:
            raise ValueError(f"{shortened(value)} is not a whole number") from None
        if number < minimum:
            raise ValueError(f"{_start(value)} is below {minimum}")
        if number > maximum:
            raise ValueError(f"{_start(value)} is above {maximum}")
        return number

    return check


def weight_bits(value: str) -> int:
    """Parse the bits per weight: 2 to 8 for integers, or 32 for float32."""
    number: int = integer(-LARGEST)(value)
    if number != 32 and not 2 <= number <= 8:
        raise ValueError(f"{_start(value)} is neither 2 to 8 nor 32")
    return number


def finite_number(value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        raise ValueError(f"{shortened(value)} is not a number") from None
    if not math.isfinite(number):
        raise ValueError(f"{_start(value)} is not a finite number")
    return number


def within(low: float, high: float, *, low_too: bool = False, high_too: bool = False) -> Check:
    def check(value: str) -> float:
        number = finite_number(value)
        if not (low < number < high or (low_too and number == low) or (high_too and number == high)):
            bounds = f"at least {low:g}" if low_too else f"above {low:g}"
            if high < math.inf:
                bounds += f" and at most {high:g}" if high_too else f" and below {high:g}"
            raise ValueError(f"{_start(value)} must be {bounds}")
        return number

    return check


@dataclass(frozen=True)
class Choice:
    """Check that a value is one of the given names."""

    names: tuple[str, ...]

    def __call__(self, value: str) -> str:
        if value in self.names:
            return value
        raise ValueError(f"{shortened(value)} is not known: {did_you_mean(value, self.names)}")


def choice(names: Iterable[str]) -> Choice:
    return Choice(tuple(names))


def boolean(value: str) -> bool:
    try:
        return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[value.lower()]
    except KeyError:
        raise ValueError(f"{shortened(value)} is neither true nor false") from None


def several(check: Check) -> Check:
    """Make a check of values separated by commas, no two of them equal or, if they are floats, printed alike."""

    def checked(value: str) -> tuple[Any, ...]:
        values = tuple(check(item.strip()) for item in value.split(","))
        printed = Counter(f"{item:g}" if isinstance(item, float) else str(item) for item in values)
        if twice := [item for item, count in printed.items() if count > 1]:
            raise ValueError(f"{_start(value)}: {twice[0]} is given twice")
        return values

    return checked


def assignments(value: str) -> tuple[str, ...]:
    """Split settings that are separated by commas, each written name=value."""
    settings = tuple(item.strip() for item in value.split(","))
    names = [item.partition("=")[0] for item in settings]
    for name, item in zip(names, settings, strict=True):
        if not name or "=" not in item:
            raise ValueError(f"{shortened(item)}: write name=value, such as schedule=cubic")
        if names.count(name) > 1:
            raise ValueError(f"{_start(value)}: {name} is given twice")
    return settings


def class_fractions(value: str) -> tuple[str, ...] | None:
    """Parse shares separated by commas, each written class=share; sort them by class, and leave out shares of 1."""
    shares: dict[str, float] = {}
    for item in value.split(","):
        name, equals, share = item.rpartition("=")
        if not equals or not name.strip():
            raise ValueError(f"{shortened(item)}: write class=share, such as 5=0.2; a class name must have no comma")
        if name.strip() in shares:
            raise ValueError(f"{_start(value)}: {name.strip()} is given twice")
        shares[utf8_text(name.strip())] = within(0, 1, high_too=True)(share)
    settings = tuple(f"{name}={text(share)}" for name, share in sorted(shares.items()) if share < 1)
    if (length := len(text(settings))) > LONGEST_PARAM:
        raise ValueError(
            f"{_start(value)} has {length:,} characters, but a run can log {LONGEST_PARAM:,}: name fewer classes, or "
            "make a data set of the images to train on"
        )
    return settings or None


def seeds(value: str) -> tuple[int, ...]:
    """Parse seeds written as 3, 0,2,5 or 0-4."""
    numbers: list[int] = []
    for item in value.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*-\s*(\d+)\s*", item, re.ASCII)
        first, last = (integer(0)(end) for end in match.groups()) if match else [integer(0)(item.strip())] * 2
        if first > last or last - first >= MOST_SEEDS:
            raise ValueError(f"{_start(item)}: write the smaller seed first, and at most {MOST_SEEDS:,} seeds")
        numbers += range(first, last + 1)
    if twice := [number for number, count in Counter(numbers).items() if count > 1]:
        raise ValueError(f"{_start(value)}: {twice[0]} is given twice")
    return tuple(numbers)


def duration(value: str) -> float:
    """Convert a time written as 90s, 30m or 2h to seconds; a number without a unit is in seconds."""
    number, unit = value.strip(), 1
    if number[-1:] in _SECONDS:
        number, unit = number[:-1], _SECONDS[number[-1]]
    try:
        return unit * within(0, math.inf)(number)
    except ValueError:
        raise ValueError(f"{shortened(value)} is not a time above 0: write 90s, 30m or 2h") from None


def steps_or_share(value: str) -> int | float:
    """Parse a whole number of training steps, or a share of the training, which is written with a decimal point."""
    if value.strip().isdecimal():
        return integer(0)(value)
    share = finite_number(value)
    if not 0 <= share < 1:
        raise ValueError(f"{_start(value)} is neither a whole number of steps nor a share from 0 to below 1")
    return share


def theta_and_gamma(value: str) -> str:
    """Return `none`, or the two numbers of --performance-weighted as canonical text."""
    if value.strip() == "none":
        return "none"
    theta, comma, gamma = value.partition(",")
    if not comma or "," in gamma:
        raise ValueError(f"{shortened(value)}: write none, or two numbers such as 0.5,1")
    least = within(0, 1, low_too=True, high_too=True)(theta.strip())
    return text((least, within(0, math.inf, low_too=True)(gamma.strip())))


def _start(value: str) -> str:
    return value if len(value) <= 100 else f"{value[:100]}..."
