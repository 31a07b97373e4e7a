"""The command `groups`: write a table of the groups and measures of a data set's test images."""

from analysis.runs import csv_text, files
from analysis.runs.errors import StudyError
from pruning_study.config import GroupsConfig
from pruning_study.data import datasets
from pruning_study.data.groups import MEASURE, groups


def write(config: GroupsConfig) -> str:
    """Write the table, and return the lines to print.

    Raises
    ------
    StudyError
        If the data set cannot be read, or the file not be written.
    """
    if config.output.is_dir():
        raise StudyError(f"{config.output} is a folder: name a file", option="--output")
    data = datasets.load(
        config.dataset,
        data_dir=config.data_dir,
        image_size=config.image_size,
        max_data_gib=config.max_data_gib,
        test_fraction=config.test_fraction,
    )
    table = groups(data)
    with files.aside(config.output.parent) as folder:
        csv_text.write(table, folder / config.output.name)
    groupings = [name for name in table if not name.startswith(MEASURE)]
    counts = ", ".join(f"{name} ({table[name].nunique():,} groups)" for name in groupings)
    return "\n".join(
        [
            f"{config.output}: {len(table):,} test images of {data.name} by {counts}",
            f"in a report: pruning-analysis report --groups {config.output}",
        ]
    )
