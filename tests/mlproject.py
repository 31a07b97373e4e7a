"""Write MLproject from the options of the two command lines.

Run `python -m tests.mlproject` after an option is added or changed.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from analysis import __main__ as analysis
from analysis.runs.options.values import text
from pruning_study import __main__ as pruning_study

FILE = Path(__file__).parents[1] / "MLproject"
# Entry points, and the program and command that each calls
ENTRY_POINTS = {
    "train": ("pruning_study", "train"),
    "prune": ("pruning_study", "prune"),
    "iterate": ("pruning_study", "iterate"),
    "study": ("pruning_study", "study"),
    "robustness": ("pruning_study", "robustness"),
    "quantize": ("pruning_study", "quantize"),
    "export": ("pruning_study", "export"),
    "tune": ("pruning_study", "tune"),
    "compress": ("pruning_study", "compress"),
    "exemplars": ("pruning_study", "exemplars"),
    "groups": ("pruning_study", "groups"),
    "tally": ("pruning_study", "tally"),
    "send": ("pruning_study", "send"),
    "move": ("pruning_study", "move"),
    "verify": ("pruning_study", "verify"),
    "analyze": ("analysis", "report"),
    "audit": ("analysis", "audit"),
    "offsets": ("analysis", "offsets"),
    "recommend": ("analysis", "recommend"),
}
GROUPS = {"pruning_study": pruning_study.cli, "analysis": analysis.cli}
# Options that are repeated for several values: a parameter has one.
REPEATED = ("ignore_params", "folders")
HEAD = """name: pruning-study

conda_env: conda.yaml

# Written by `python -m tests.mlproject` from the options of the two command lines.
entry_points:
"""


def mlproject() -> str:
    """Return the text of the file; the entry point `main` is that of `prune`."""
    entries = []
    for name, (program, command) in ENTRY_POINTS.items():
        anchor = " &prune" if name == "prune" else ""
        entries.append("\n".join([f"  {name}:{anchor}", *_entry(program, command)]))
        if anchor:
            entries.append("  main: *prune")
    return HEAD + "\n\n".join(entries) + "\n"


def _entry(program: str, command: str) -> Iterator[str]:
    params = [param for param in GROUPS[program].commands[command].params if param.name not in REPEATED]
    arguments = [f"{{{param.name}}}" for param in params if isinstance(param, click.Argument)]
    yield "    parameters:"
    for param in params:
        default = _default(param)
        yield f"      {param.name}: " + ("{type: string}" if default is None else f'{{default: "{default}"}}')
    yield "    command: >-"
    yield " ".join([f"      python -m {program} {command}", *arguments])
    yield from (f"      {param.opts[0]} {{{param.name}}}" for param in params if isinstance(param, click.Option))


def _default(param: click.Parameter) -> str | None:
    """Return the default as it is typed; None of what has to be given."""
    if param.name == "file":
        return "studies/quick.yaml"
    default: Any = str(param.default) if isinstance(param.default, Path) else param.default
    if isinstance(default, str | bool | float):
        return text(default)
    return None if param.required else "auto"


if __name__ == "__main__":
    FILE.write_text(mlproject())
