"""The command `groups`: write a table of the groups and measures of a data set's test images."""

import shlex
from pathlib import Path

from analysis.common import csv_text, files, overwriting
from pruning_study.data import datasets
from pruning_study.data.groups import MEASURE, groups
from pruning_study.options.config import GroupsConfig


def write(config: GroupsConfig) -> str:
    """Write the table, and return the lines to print.

    Raises
    ------
    StudyError
        If the data set cannot be read, or if a file cannot be written.
    """
    outputs = (("output", config.output), ("picture", config.picture))
    for option, path in outputs:
        overwriting.check_file(path, [], "images", option=option)
    source = datasets.source(config.dataset, data_dir=config.data_dir)
    for option, path in outputs:
        overwriting.check_file(path, [source], "images", option=option)
    data = datasets.load(
        config.dataset,
        data_dir=config.data_dir,
        image_size=config.image_size,
        test_fraction=config.test_fraction,
    )
    table = groups(data)
    with files.one_aside(config.output) as file:
        csv_text.write(table, file)
    picture_lines = _write_picture(data, config.picture) if config.picture else []
    groupings = [name for name in table if not name.startswith(MEASURE)]
    counts = ", ".join(f"{name} ({table[name].nunique():,} groups)" for name in groupings)
    return "\n".join(
        [
            f"{config.output}: {len(table):,} test images of {data.name} by {counts}",
            f"in a report: pruning-analysis report --groups {shlex.quote(str(config.output))}",
            *picture_lines,
        ]
    )


def _write_picture(data: datasets.Dataset, path: Path) -> list[str]:
    from pruning_study.data.tilt_picture import tilt_picture  # matplotlib takes a second to import

    figure = tilt_picture(data)
    with files.one_aside(path) as file:
        figure.savefig(file, format="png")
    return [f"{path}: the tilt of a few test images"]
