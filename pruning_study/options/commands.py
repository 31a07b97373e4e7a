"""Make the records, the dataclass and the help sections of a command's options from `table.OPTIONS`."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

from pruning_study.options.record import Option, option
from pruning_study.options.table import HEADINGS, OPTIONS

T = TypeVar("T")
# The option for the strength of each mitigation
STRENGTHS = {str(record.param.detail_of): record.name for record in OPTIONS if record.search_range and record.param}


@dataclass_transform(frozen_default=True, field_specifiers=(option,))
def command(name: str) -> Callable[[type[T]], type[T]]:
    """Make a decorator that turns a class into the frozen dataclass of a command's options.

    The class must inherit from the classes of `table` that define its options, such as `TrainingOptions`, because a
    type checker finds the types of the options there.
    """

    def decorate(cls: type[T]) -> type[T]:
        records = of_command(name)
        cls.__annotations__ = {option_name: record.type for option_name, record in records.items()}
        for option_name, record in records.items():
            metadata = {"check": record.check, "typed": record.typed or record.check, "auto": record.is_auto}
            setattr(cls, option_name, field(default=record.value, metadata=metadata | {"help": record.help}))
        return dataclass(frozen=True)(cls)

    return decorate


def of_command(command: str) -> dict[str, Option]:
    """Return the records of a command's options by name."""
    return {record.name: record.of(command) for record in OPTIONS if command in record.commands}


def sections() -> dict[str, list[str]]:
    """Return the names of the options under each heading of `--help`, in the order of the help."""
    names = {heading: [record.name for record in OPTIONS if record.heading == heading] for heading in HEADINGS}
    return {heading: list(dict.fromkeys(option_names)) for heading, option_names in names.items()}
