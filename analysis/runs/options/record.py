"""The record of an option, and how sections of records are declared."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, TypeVar, dataclass_transform, get_args, get_origin

from analysis.common.errors import StudyError
from analysis.runs import schema
from analysis.runs.options.values import Check, Choice
from analysis.runs.schema import text

AUTO = "auto"
_TYPES = {bool: "TRUE|FALSE", int: "INT", float: "FLOAT", Path: "PATH"}
_LONGEST_CHOICE = 40  # maximum number of characters of names that fit into the help
T = TypeVar("T")


@dataclass(frozen=True)
class Prerequisite:
    """A condition under which an option has an effect.

    Parameters
    ----------
    otherwise : str
        End of the sentence `--option has no effect ...` if the prerequisite is not met; `{pruner}` stands for the
        pruner.
    is_met : callable
        Takes the config of a command, such as a `TrainConfig`, and returns whether it meets the prerequisite.
    """

    otherwise: str
    is_met: Callable[[Any], bool]

    def or_if(self, is_met: Callable[[Any], bool]) -> Self:
        """Return a prerequisite that is also met under another condition."""
        return replace(self, is_met=lambda config: self.is_met(config) or is_met(config))


@dataclass(frozen=True)
class Option:
    """The record of an option: everything about it except the code that uses its value.

    Parameters
    ----------
    default : str
        As the user would type it. `auto` stands for None: a value derived from other options or the data.
    check : callable
        Converts typed text to the value, or raises a ValueError that names the accepted values.
    help : str
        The text that `--help` shows.
    commands : tuple of str
        The commands that have the option.
    typed : callable, optional
        Check of the typed text if a command accepts several values, each of which must pass `check`.
    in_study : bool
        Whether a study's file may give the option.
    needs : tuple of Prerequisite
        Conditions under which the option has an effect. A warning names the first that is not met.
    auto_follows : str
        The option whose value `auto` stands for, if there is one.
    search_range : (float, float), optional
        Smallest and largest value that `tune` tries, if the option is the strength of a mitigation.
    in_command : mapping, optional
        Fields of the record that differ in a command, by the command's name.
    heading : str
        The option's heading in `--help`; by default the heading of the record's section.
    name, type
        Name and type of the option, which `section` fills in.
    """

    default: str
    check: Check
    help: str
    commands: tuple[str, ...]
    typed: Check | None = None
    in_study: bool = True
    needs: tuple[Prerequisite, ...] = ()
    auto_follows: str = ""
    search_range: tuple[float, float] | None = None
    in_command: Mapping[str, Mapping[str, Any]] | None = None
    heading: str = ""
    name: str = ""
    type: Any = None

    def __get__(self, config: object, owner: type) -> Any:
        """Raise an AttributeError, because the command does not have this option."""
        raise AttributeError(f"{owner.__name__} has no option {self.name}")

    def of(self, command: str) -> Self:
        """Return the record as it applies to a command."""
        return replace(self, **(self.in_command or {}).get(command, {}))

    def main_if_off(self, config: Any) -> str:
        """Return the option of which this one is a detail, if that is off (none or 0), else an empty string."""
        main = self.param.detail_of if self.param else None
        return main if main and getattr(config, main, None) in ("none", 0) else ""

    @property
    def param(self) -> schema.ParamRole | None:
        """Role of the logged param of the same name; None if the option changes no result."""
        return schema.PARAM_ROLES.get(self.name)

    @property
    def is_auto(self) -> bool:
        """Whether the default is derived from other options or the data."""
        return self.default == AUTO

    @property
    def takes_several(self) -> bool:
        """Whether the option accepts any number of values, separated by commas."""
        return self.typed is not None or any(Ellipsis in get_args(kind) for kind in (self.type, *get_args(self.type)))

    @property
    def value(self) -> Any:
        """The default as a value."""
        return None if self.is_auto else self.check(self.default)


def option(default: str, check: Check, help: str, commands: tuple[str, ...], **more: Any) -> Any:
    """Declare an option in a section of the table, with the parameters of `Option`."""
    return Option(default, check, help, commands, **more)


@dataclass_transform(frozen_default=True, field_specifiers=(option,))
def section(heading: str) -> Callable[[type[T]], type[T]]:
    """Make a decorator for a class of option records that `--help` shows under a heading."""

    def decorate(cls: type[T]) -> type[T]:
        for name, type_ in cls.__annotations__.items():
            record = vars(cls)[name]
            record = replace(record, name=name, heading=record.heading or heading, type=type_)
            setattr(cls, name, record)
        return cls

    return decorate


def metavar(item: Any) -> str:
    """Return the name of a field's value in the help: its type, or the names that it accepts."""
    check, kinds = item.metadata["check"], (item.type, *get_args(item.type))
    if isinstance(check, Choice) and len(" ".join(check.names)) <= _LONGEST_CHOICE:
        return f"[{'|'.join(check.names)}]"
    of_tuple = next((get_args(kind) for kind in kinds if get_origin(kind) is tuple), ())
    names = [name for kind, name in _TYPES.items() if kind in (*kinds, *of_tuple)]
    name = names[0] if names else "TEXT"
    return f"{name},..." if of_tuple or item.metadata["typed"] is not check else name


def default_text(item: Any) -> str:
    """Return a field's default as it is typed on the command line."""
    return AUTO if item.default is None else text(item.default)


def checked_value(item: Any, value: Any) -> Any:
    """Check a value for a dataclass field and convert it from text if necessary.

    Raises
    ------
    StudyError
        If the option does not accept the value.
    """
    if value is None or (value == AUTO and item.metadata["auto"]):
        return None if item.metadata["auto"] else item.default
    try:
        return item.metadata["check"](text(value))
    except ValueError as error:
        raise StudyError(str(error), option=item.name) from None
