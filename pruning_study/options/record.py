"""The record of an option, and how groups of records and the options of a command are declared."""

import ast
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Self, TypeVar, dataclass_transform, get_args, get_origin

from analysis.common.errors import StudyError
from analysis.runs import schema
from analysis.runs.schema import text
from pruning_study.options.values import Check, Choice, boolean, nonempty_text, path

AUTO = "auto"
_CHECKS: dict[Any, Check] = {bool: boolean, Path: path, str: nonempty_text}
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
    check : callable, optional
        Converts typed text to the value, or raises a ValueError that names the accepted values. By default it follows
        from the type.
    typed : callable, optional
        Check of the typed text if a command accepts several values, each of which must pass `check`.
    in_study : bool
        Whether a study's file may give the option.
    needs : tuple of Prerequisite
        Conditions under which the option has an effect. A warning names the first that is not met.
    heading : str
        The option's heading in `--help`; by default the heading of the record's group.
    name, type, help
        Name and type of the option, and the text below it, which `section` fills in.
    """

    default: str
    check: Check
    typed: Check
    in_study: bool = True
    needs: tuple[Prerequisite, ...] = ()
    heading: str = ""
    name: str = ""
    type: Any = None
    help: str = ""

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
        return self.typed is not self.check or _parts(self.type)[1]

    @property
    def value(self) -> Any:
        """The default as a value."""
        return None if self.is_auto else self.check(self.default)

    @property
    def default_text(self) -> str:
        """The default as it is typed on the command line."""
        return AUTO if self.value is None else text(self.value)

    @property
    def metavar(self) -> str:
        """Name of the value in the help: its type, or the names that the option accepts."""
        if isinstance(self.check, Choice) and len(" ".join(self.check.names)) <= _LONGEST_CHOICE:
            return f"[{'|'.join(self.check.names)}]"
        return _TYPES.get(_parts(self.type)[0], "TEXT") + (",..." if self.takes_several else "")

    def checked(self, value: Any) -> Any:
        """Check a value, and convert it from text if necessary.

        Raises
        ------
        StudyError
            If the option does not accept the value.
        """
        if value is None or (value == AUTO and self.is_auto):
            return self.value
        try:
            return self.check(text(value))
        except ValueError as error:
            raise StudyError(str(error), option=self.name) from None


def _parts(type_: Any) -> tuple[Any, bool]:
    """Return the type of an option's single values, and whether it takes any number of them."""
    kind = get_args(type_)[0] if isinstance(type_, UnionType) else type_
    return (get_args(kind)[0], True) if get_origin(kind) is tuple else (kind, False)


def option(default: str = AUTO, check: Check | None = None, typed: Check | None = None, **more: Any) -> Any:
    """Declare an option in a group, with the parameters of `Option`; its help is the text below it."""
    return Option(default, check, typed, **more)  # type: ignore[arg-type]  # `section` fills in what is missing


@dataclass_transform(frozen_default=True, field_specifiers=(option,))
def section(heading: str) -> Callable[[type[T]], type[T]]:
    """Make a decorator for a group of options, which a command has if it inherits it, under a heading of `--help`."""

    def decorate(cls: type[T]) -> type[T]:
        module = sys.modules[cls.__module__]
        for name, type_ in cls.__annotations__.items():
            record = vars(cls)[name]
            check = record.check or _CHECKS[_parts(type_)[0]]
            help_ = _helps(module)[cls.__name__, name].format_map(_Names(vars(module)))
            filled = {"name": name, "type": type_, "help": help_, "heading": record.heading or heading}
            _declare(cls, replace(record, check=check, typed=record.typed or check, **filled))
        return dataclass(frozen=True)(cls)

    return decorate


@dataclass_transform(frozen_default=True, field_specifiers=(option,))
def command(**defaults: str) -> Callable[[type[T]], type[T]]:
    """Make a decorator for the options of a command, which has other defaults of some options of its groups."""

    def decorate(cls: type[T]) -> type[T]:
        for name, default in defaults.items():
            groups = (vars(base).get("__dataclass_fields__", {}) for base in cls.__mro__[1:])
            record = next(group[name] for group in groups if name in group).metadata["option"]
            _declare(cls, replace(record, default=default))
        return dataclass(frozen=True)(cls)

    return decorate


def _declare(cls: type, record: Option) -> None:
    cls.__annotations__ = {**vars(cls).get("__annotations__", {}), record.name: record.type}
    setattr(cls, record.name, field(default=record.value, metadata={"option": record}))


@cache
def _helps(module: Any) -> dict[tuple[str, str], str]:
    """Return the text below each option in the file of a module, by class and option."""
    classes = [node for node in ast.parse(inspect.getsource(module)).body if isinstance(node, ast.ClassDef)]
    return {
        (cls.name, item.target.id): " ".join(below.value.value.split())
        for cls in classes
        for item, below in zip(cls.body, cls.body[1:], strict=False)
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and isinstance(below.value.value, str)
    }


class _Names(dict[str, Any]):
    """The names that a module's constants list, joined by commas."""

    def __getitem__(self, name: str) -> str:
        return ", ".join(super().__getitem__(name))


def records(config: Any) -> dict[str, Option]:
    """Return the records of the options of a command, given its class or an object of it, by name."""
    return {item.name: item.metadata["option"] for item in fields(config)}
