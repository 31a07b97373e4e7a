"""Find the networks that are made in the same way, and name each by the settings in which it differs from others."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from mlflow.entities import Run

from analysis.runs import schema

Settings: TypeAlias = frozenset[tuple[str, str]]  # name and value of each


def newest_runs(runs: Sequence[Run]) -> list[Run]:
    """Return the newest run of each setting and seed, in the order of the runs."""
    by_age = sorted(runs, key=lambda run: run.info.start_time)
    newest = {(_settings(run), _params(run, "seed")): run.info.run_id for run in by_age}
    newest_ids = set(newest.values())
    return [run for run in runs if run.info.run_id in newest_ids]


def row_names(runs: Sequence[Run]) -> dict[str, str]:
    """Return the name of each run's row in the table, by run id. Only networks made in the same way share a row.

    The name is that of the run without its seed. If networks made in different ways have this name, the settings that
    tell them apart follow in parentheses.
    """
    settings = {run.info.run_id: _settings(run) for run in runs}
    names: dict[Settings, str] = {}
    for run in runs:
        names.setdefault(settings[run.info.run_id], _name_without_seed(run))
    rows: dict[Settings, str] = {}
    for name in set(names.values()):
        alike = [own for own in names if names[own] == name]
        rows |= {own: name + words for own, words in zip(alike, _told_apart(alike), strict=True)}
    return {run_id: rows[own] for run_id, own in settings.items()}


def _settings(run: Run) -> Settings:
    """Return the kind of a run, and its settings except those whose value is assumed for runs that lack the setting."""
    return frozenset({(schema.KIND, run.data.tags[schema.KIND]), *_params(run, "setting")})


def _params(run: Run, role: str) -> Settings:
    return frozenset(
        (name, value)
        for name, value in run.data.params.items()
        if schema.role(name).role == role and value != schema.ABSENT.get(name)
    )


def _name_without_seed(run: Run) -> str:
    seed = run.data.params.get(schema.SEED, "")
    return (run.info.run_name or "").replace(f" s{seed} ", " ", 1)


def _told_apart(alike: Sequence[Settings]) -> list[str]:
    """Return, in parentheses, the values of those settings that tell all of `alike` apart; empty if it is only one."""
    values = [{**schema.ABSENT, **dict(each)} for each in alike]
    telling: list[str] = []
    for name in dict.fromkeys([*schema.PARAM_ROLES, *(name for each in values for name in sorted(each))]):
        if _number_of_rows(values, [*telling, name]) > _number_of_rows(values, telling):
            telling.append(name)
    words = (", ".join(schema.words(name, each.get(name, "none")) for name in telling) for each in values)
    return [f" ({each})" if each else "" for each in words]


def _number_of_rows(values: Sequence[Mapping[str, str]], names: Sequence[str]) -> int:
    return len({tuple(each.get(name, "none") for name in names) for each in values})
