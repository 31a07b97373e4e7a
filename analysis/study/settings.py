"""Find the params that distinguish cells, and select those to show."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from analysis.runs import frames, schema
from analysis.study.joins import join

CELL = [schema.DATASET, schema.MODEL, schema.PRUNER, schema.RATIO]
CONTROL = schema.CONTROL
ALPHA_COLUMNS = [
    *CELL,
    schema.SEED,
    "alpha",
    "raw_slope",
    "correlation",
    "spread_ratio",
    "accuracy_before",
    "accuracy_after",
    "at_chance",
    "dense_run_id",
    "run_id",
]
CELL_COLUMNS = [
    *CELL,
    "n",
    "n_at_chance",
    "n_alpha",
    "alpha_mean",
    "alpha_median",
    "alpha_sd",
    "ci_low",
    "ci_high",
    "mark",
    "raw_slope_mean",
    "raw_slope_low",
    "raw_slope_high",
    "alpha_new",
    "alpha_new_low",
    "alpha_new_high",
    "reliability",
    "alpha_shared",
    "alpha_shared_low",
    "alpha_shared_high",
    "accuracy_before",
    "accuracy_after",
]

_FINE_TUNE_EPOCHS = frames.column(schema.FINE_TUNE_EPOCHS)
_FINE_TUNE_LEARNING_RATE = frames.column(schema.FINE_TUNE_LEARNING_RATE)
_START = frames.column(schema.START)
_SCOPE = frames.column(schema.SCOPE)
_SPARSITY = frames.column(schema.SPARSITY)
_NUMBER_FORMAT = frames.column(schema.NUMBER_FORMAT)
_WEIGHT_BITS = frames.column(schema.WEIGHT_BITS)
# Each of these params is shown if some network has another value than 32 bits.
_OF_BITS = (_NUMBER_FORMAT, frames.column(schema.PRECISION), _WEIGHT_BITS)
_OF_32_BITS = (schema.FLOAT32, schema.ABSENT[schema.WEIGHT_BITS])
_EPSILON = frames.column(schema.EPSILON)
# By default, the kept epoch follows from these.
_DECAYS = (frames.column(schema.DECAY), frames.column(schema.FINE_TUNE_DECAY))
ITERATION = frames.column(schema.ITERATION)
_KEEP = frames.column(schema.KEEP)
OF_DISTILLATION = tuple(map(frames.column, (schema.DISTILL, *schema.details(schema.DISTILL))))
# These params distinguish levels of iterative pruning, besides the ratio.
_OF_ITERATIONS = (_KEEP, frames.column(schema.WEIGHT_TREATMENT), ITERATION)
# Reasons for which `main_setting` leaves out runs.
_NEAREST = "the setting nearest to the papers' is shown"
_MOST_RUNS = "another setting has more runs"
_FIRST = "only the first of the settings with equally many runs is shown"
_OF_KEPT = "_of_kept"


class CellKey(NamedTuple):
    """The settings of a cell.

    Attributes
    ----------
    dataset, model, pruner : str
    ratio : float
    settings : tuple of (str, str)
        Every further setting of the cell's runs, as (name, value).
    """

    dataset: str
    model: str
    pruner: str
    ratio: float
    settings: tuple[tuple[str, str], ...] = ()

    @classmethod
    def from_run(cls, run: Mapping[str, Any], columns: Sequence[str]) -> "CellKey":
        """Make the key of a run's cell from a row whose further settings are in `columns`."""
        further = ((frames.param(column), run[column]) for column in sorted(columns) if pd.notna(run[column]))
        return cls(run[schema.DATASET], run[schema.MODEL], run[schema.PRUNER], run[schema.RATIO], tuple(further))

    @property
    def params(self) -> dict[str, Any]:
        """All settings by name."""
        return {**dict(zip(CELL, self[:4], strict=True)), **dict(self.settings)}

    @property
    def is_iterated(self) -> bool:
        """Whether the cell is a level of iterative pruning or of its control; see the function `is_iterated`."""
        absent = schema.ABSENT[schema.KEEP]
        return bool(self.params.get(schema.KEEP, absent) != absent)

    @property
    def mitigation(self) -> dict[str, str]:
        """Settings of the mitigation that spares classes, such as class offsets; empty if there is none."""
        mains = {name for name in schema.mitigations() if self.params.get(name, "none") != "none"}
        return {name: value for name, value in self.settings if name in mains or schema.role(name).detail_of in mains}

    def without(self, names: set[str]) -> frozenset[tuple[str, Any]]:
        """Return all settings except the named ones, for comparison with those of another cell."""
        return frozenset(item for item in self.params.items() if item[0] not in names)


def further_settings(frame: pd.DataFrame) -> list[str]:
    """Return the columns of settings beyond data set, model, pruner and ratio, in the order of the frame."""
    names = [column for column in frames.params(frame) if column not in CELL]
    return [column for column in names if schema.role(frames.param(column)).role == "setting"]


def shown_settings(runs: pd.DataFrame) -> list[str]:
    """Return the columns of the further settings that tables and labels show.

    Cells are defined by all settings, but only some are shown:

    - number format, precision and bits per weight, each if its value is not 32 bits in some network;
    - a mitigation, if any network has it;
    - the settings of levels of iterative pruning, if there are such levels;
    - a param that the papers do not vary, such as the schedule, if it differs between runs; the kept epoch, if it
      differs between runs with the same decay of the learning rate;
    - a detail of such a param, if it differs between runs of one data set, model and value of that param;
    - a setting of the dense networks, such as the epochs, if it differs between runs of one data set and model;
    - any other setting, if it differs between runs of one data set, model, pruner and ratio.
    """
    has_levels = is_iterated(runs).any()
    mitigations = set(map(frames.column, schema.mitigations()))
    return [
        column
        for column in further_settings(runs)
        if (runs[column].nunique(dropna=False) > 1 and _tells_cells_apart(runs, column))
        or (column in _OF_BITS and not runs[column].isin(_OF_32_BITS).all())
        or (column in mitigations and is_mitigated(runs[[column]]).any())
        or (column in _OF_ITERATIONS and has_levels)
    ]


def _tells_cells_apart(runs: pd.DataFrame, column: str) -> bool:
    param = frames.param(column)
    if param == schema.KEPT_EPOCH:
        return _differs(runs, column, [name for name in (*CELL[:2], *_DECAYS) if name in runs])
    main = schema.role(param).detail_of or param
    if main in schema.ABSENT:
        within = [name for name in dict.fromkeys([*CELL[:2], frames.column(main), _START]) if name in runs]
        if main == param or frames.column(main) not in runs:
            return True
        if _concerns(column) == "mitigation":
            return column in telling_details(runs, main, within)
        return _differs(runs, column, within)
    if column in (_FINE_TUNE_EPOCHS, _FINE_TUNE_LEARNING_RATE) and _START in runs:
        runs = runs[~starts_anew(runs)]  # networks that are pruned during training are not fine-tuned
    if column == _FINE_TUNE_EPOCHS:
        return _differs(runs[~never_fine_tuned(runs)], column, CELL[:2])
    return _differs(runs, column, CELL[:2] if _parts_dense_networks(param) else CELL)


def telling_details(runs: pd.DataFrame, main: str, within: Sequence[str]) -> list[str]:
    """Return a param's details (params that qualify it) that distinguish cells, except those that others imply.

    Parameters
    ----------
    runs : DataFrame
    main : str
        The param, such as `constraint`.
    within : sequence of str
        Columns in which the compared cells agree.
    """
    details: list[str] = []
    for detail in filter(runs.columns.__contains__, map(frames.column, schema.details(main))):
        if _differs(runs, detail, [*within, *details]):
            details.append(detail)
    return details


def _parts_dense_networks(param: str) -> bool:
    """Return whether the schema declares a param to belong to the training of the dense network."""
    is_known = param in schema.PARAM_ROLES and param != schema.FINE_TUNE_LEARNING_RATE
    return is_known and schema.role(param).concerns == "network"


def is_of_dense(runs: pd.DataFrame, column: str) -> bool:
    """Return whether a setting belongs to dense networks: networks pruned from one dense network share its value."""
    is_possible = _parts_dense_networks(frames.param(column)) and column not in _OF_ITERATIONS
    return is_possible and not _differs(runs, column, [schema.DENSE_RUN_ID])


def _differs(frame: pd.DataFrame, column: str, within: Sequence[str]) -> bool:
    return bool((frame.groupby(list(within), dropna=False)[column].nunique(dropna=False) > 1).any())


def cell_columns(frame: pd.DataFrame, shown: Sequence[str]) -> list[str]:
    """Return the columns of all settings, the shown ones first so that cells are sorted by them."""
    return [*CELL, *shown, *(column for column in further_settings(frame) if column not in shown)]


def network_columns(frame: pd.DataFrame) -> list[str]:
    """Return the columns that distinguish the networks of a cell: the seed, and the digest of given weights."""
    return [column for column in frames.params(frame) if schema.role(frames.param(column)).role == "seed"]


def networks(frame: pd.DataFrame) -> pd.Index:
    """Return a key of each row's network, for pairing.

    Rows with equal keys share a dense network if the settings of their dense networks are equal too.
    """
    columns = network_columns(frame)
    if columns == [schema.SEED]:
        return pd.Index(frame[schema.SEED])
    return pd.MultiIndex.from_frame(frame[columns].fillna(""))


def dense_networks(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the columns that identify each run's dense network, so that a network trained twice counts once."""
    own = [column for column in further_settings(runs) if is_of_dense(runs, column)]
    return runs[[*CELL[:2], *own, *network_columns(runs)]]


def share_dense_networks(networks: pd.DataFrame, groups: Sequence[str]) -> bool:
    """Return whether every two groups of pruned networks have a dense network in common.

    If two groups have none in common, for example because their epochs differ, a mean over both describes neither.

    Parameters
    ----------
    networks : DataFrame
        One row per pruned network, with dense_run_id.
    groups : sequence of str
        The columns that define the groups.
    """
    dense = [set(ids) for _, ids in networks.groupby(list(groups), dropna=False)[schema.DENSE_RUN_ID]]
    return not any(first.isdisjoint(second) for first, second in combinations(dense, 2))


def pruner_settings(frame: pd.DataFrame, lacked_by: str | None = None) -> set[str]:
    """Return the columns of settings that depend on the pruner: declared ones, and undeclared ones that a pruner lacks.

    Parameters
    ----------
    frame : DataFrame
        Runs.
    lacked_by : str, optional
        An undeclared param is included only if all runs of this pruner lack it. By default it is included if all runs
        of any one pruner lack it.
    """
    columns = further_settings(frame)
    declared = {column for column in columns if schema.role(frames.param(column)).concerns == "pruner"}
    unknown = [column for column in columns if frames.param(column) not in schema.PARAM_ROLES]
    if not unknown:
        return declared
    counts = frame.groupby(schema.PRUNER)[unknown].count()
    is_lacked = counts.eq(0).any() if lacked_by is None else counts.reindex([lacked_by]).eq(0).any()
    return declared | set(is_lacked.index[is_lacked])


def is_pruned(frame: pd.DataFrame) -> pd.Series:
    """Return whether each row has pruned networks, not controls or unpruned networks in another number format."""
    return (frame[schema.PRUNER] != CONTROL) & ~in_number_format(frame)


def is_iterated(frame: pd.DataFrame) -> pd.Series:
    """Return whether each row is a level of iterative pruning, or of its control.

    For such rows the iteration takes the role of the ratio, so the iteration does not belong to the method. Levels of
    the same iteration belong together, although rounding may make their ratios differ slightly.
    """
    keep = frame.reindex(columns=[_KEEP])[_KEEP]
    return keep.notna() & (keep != schema.ABSENT[schema.KEEP])


def at_level(frame: pd.DataFrame, ratio: float) -> pd.Series:
    """Return whether each row has a given ratio, or the same iteration of iterative pruning as a row with that ratio.

    Parameters
    ----------
    frame : DataFrame
        Runs or cells of one data set and model.
    ratio : float
    """
    has_ratio = frame[schema.RATIO] == ratio
    iterated = is_iterated(frame) & (frame[schema.PRUNER] != CONTROL)
    if not iterated.any():
        return has_ratio
    level = _iterations(frame)
    return has_ratio | (iterated & level.isin(level[has_ratio & iterated]))


def controls_at_level(frame: pd.DataFrame, ratio: float) -> pd.Series:
    """Return whether each row is a control of the rows of `at_level`; arguments as in `at_level`.

    An iterated control belongs to its own iteration, any other control to all ratios.
    """
    is_control, iterated = frame[schema.PRUNER] == CONTROL, is_iterated(frame)
    if not iterated.any():
        return is_control
    level = _iterations(frame)
    return is_control & (~iterated | level.isin(level[at_level(frame, ratio) & iterated]))


def _iterations(frame: pd.DataFrame) -> pd.MultiIndex:
    return pd.MultiIndex.from_frame(frame[[_KEEP, ITERATION]])


def in_number_format(frame: pd.DataFrame) -> pd.Series:
    """Return whether each row has unpruned networks in another number format."""
    return frame[schema.PRUNER].isin(list(frames.NUMBER_FORMATS))


def bits(frame: pd.DataFrame) -> np.ndarray:
    """Return the number of bits per weight in each row's networks, (rows,)."""
    formats = frame.get(_NUMBER_FORMAT, frame[schema.PRUNER])
    of_format = formats.map(schema.BITS).fillna(schema.BITS[schema.ABSENT[schema.NUMBER_FORMAT]])
    of_network = frame[schema.PRUNER].map(frames.NUMBER_FORMATS).fillna(of_format).to_numpy(float)
    if _WEIGHT_BITS not in frame:
        return of_network
    return np.minimum(of_network, frame[_WEIGHT_BITS].fillna(schema.ABSENT[schema.WEIGHT_BITS]).to_numpy(float))


def is_random(frame: pd.DataFrame) -> pd.Series:
    """Return whether each row's pruner is random.

    Random pruning causes losses so large that they would dominate a picture's scale.
    """
    return frame[schema.PRUNER].isin(["rp", "random-unstructured", "random-structured"])


def starts_anew(runs: pd.DataFrame) -> pd.Series:
    """Return whether each run's network was pruned during training from its initial weights."""
    return runs.reindex(columns=[_START])[_START] == schema.INITIALIZATION


def never_fine_tuned(runs: pd.DataFrame) -> pd.Series:
    """Return whether each run is a dense network in another number format, which is not fine-tuned."""
    return runs[schema.PRUNER].isin(list(schema.BITS))


def control_columns(frame: pd.DataFrame) -> list[str]:
    """Return the columns of the settings in which a pruned network and its control must agree.

    Mitigations are not included, because the control of a mitigated network may have no mitigation.
    """
    pruners = pruner_settings(frame, lacked_by=CONTROL)
    common_settings = [
        column
        for column in further_settings(frame)
        if column not in pruners and _concerns(column) not in ("pruning", "mitigation")
    ]
    return [schema.DATASET, schema.MODEL, *common_settings]


def mitigation_columns(frame: pd.DataFrame) -> list[str]:
    """Return the columns of mitigations, such as class offsets, and of their details."""
    return [column for column in further_settings(frame) if _concerns(column) == "mitigation"]


def is_mitigated(frame: pd.DataFrame) -> pd.Series:
    """Return whether each row has networks with a mitigation that spares classes, such as class offsets."""
    mains = frame.reindex(columns=list(map(frames.column, schema.mitigations())))
    return (mains.notna() & (mains != "none")).any(axis=1)


def is_distilled(frame: pd.DataFrame) -> pd.Series:
    """Return whether each row has networks that are fine-tuned with a teacher."""
    weight = frame.reindex(columns=OF_DISTILLATION)[frames.column(schema.DISTILL)]
    return weight.notna() & (weight != schema.ABSENT[schema.DISTILL])


def _concerns(column: str) -> str:
    return schema.role(frames.param(column)).concerns


def main_setting(frame: pd.DataFrame, shown: Sequence[str]) -> pd.DataFrame:
    """Keep the runs of one setting per data set and model and, among these, the runs of one setting per pruner.

    The papers' setting (one-shot pruning, then fine-tuning on labels only) is kept if any run has it. Among settings
    that are equally near to it, those with the papers' epsilon come first, then those with most runs.

    Parameters
    ----------
    frame : DataFrame
        Runs, or alphas.
    shown : sequence of str
        As `shown_settings` returns it.

    Returns
    -------
    DataFrame
        The kept rows, with notes on the others in `attrs["notes"]`.
    """
    pruners = pruner_settings(frame)
    own = [column for column in shown if column in pruners or _concerns(column) == "pruning"]
    of_all = CELL[:2], [column for column in shown if column not in own]
    of_pruner = CELL[:3], own
    of_all_rows = most_frequent(frame, *of_all)
    main_rows = most_frequent(of_all_rows, *of_pruner)
    if notes := [*_notes(frame, *of_all), *_notes(of_all_rows, *of_pruner)]:
        main_rows.attrs["notes"] = notes
    return main_rows


def most_frequent(frame: pd.DataFrame, within: list[str], columns: list[str]) -> pd.DataFrame:
    """Keep the rows of one setting in each group: of the settings nearest to the papers' values, the most frequent."""
    if not columns:
        return frame.reset_index(drop=True)
    key = [*within, *columns]
    return join(frame, _ranked(frame, within, columns)[key].drop_duplicates(within), key)


def _ranked(frame: pd.DataFrame, within: list[str], columns: list[str]) -> pd.DataFrame:
    """Return each setting of each group with its nearness to the papers' values and its number of runs, best first."""
    counts = frame.groupby([*within, *columns], dropna=False).size()
    values = counts.index.to_frame(index=False)
    absent_values = {frames.column(name): value for name, value in schema.ABSENT.items()}
    as_printed = sum(
        (values[column] == absent_values[column] for column in columns if column in absent_values), 0 * values.index
    )
    as_printed -= without_fine_tuning(values)
    has_papers_epsilon = values.reindex(columns=[_EPSILON])[_EPSILON].eq(str(schema.PAPERS_EPSILON))
    ranked = values.assign(nearness=2 * as_printed + has_papers_epsilon, runs=counts.to_numpy())
    return ranked.iloc[np.lexsort([-ranked["runs"], -ranked["nearness"]])]


def _notes(frame: pd.DataFrame, within: list[str], columns: list[str]) -> list[str]:
    """Return a sentence for each reason for which `most_frequent` leaves out runs, with the values that it keeps."""
    ranked = _ranked(frame, within, columns)
    kept = ranked.drop_duplicates(within)
    others = ranked[ranked.duplicated(within)].merge(kept, on=within, suffixes=("", _OF_KEPT))
    is_farther, is_fewer = (others[name] < others[name + _OF_KEPT] for name in ("nearness", "runs"))
    notes = []
    for why, rows in others.groupby(np.select([is_farther, is_fewer], [_NEAREST, _MOST_RUNS], _FIRST), sort=False):
        kept_values = []
        for column in columns:
            missing = "" if schema.role(frames.param(column)).detail_of else "missing"
            own, of_kept = (rows[column + side].fillna(missing) for side in ("", _OF_KEPT))
            if values := sorted(set(of_kept[of_kept != own]) - {""}):
                kept_values.append(f"{frames.param(column)} {' or '.join(values)}")
        left_out = f"in tests and tables: {rows['runs'].sum():,} runs left out"
        notes.append(f"{left_out}, because {why} ({', '.join(kept_values)})")
    return notes


def without_fine_tuning(frame: pd.DataFrame) -> pd.Series:
    """Return whether each row has pruned networks that were fine-tuned for 0 epochs."""
    return frame.reindex(columns=[_FINE_TUNE_EPOCHS])[_FINE_TUNE_EPOCHS].eq("0")


def level(run: Mapping[str, Any]) -> float:
    """Express in one number how far the networks of a cell are compressed.

    This number is the bits per weight for unpruned networks in another number format, the sparsity for networks pruned
    during training, and the pruning ratio for all others.

    Parameters
    ----------
    run : mapping
        A run of the cell, such as a row of the frame that `pull.pull_runs` returns.
    """
    if run[schema.PRUNER] in frames.NUMBER_FORMATS:
        return float(frames.NUMBER_FORMATS[run[schema.PRUNER]])
    if run.get(_START) == schema.INITIALIZATION:
        sparsity = pd.to_numeric(run.get(_SPARSITY), errors="coerce")
        if pd.notna(sparsity):
            return float(sparsity)
    return float(run[schema.RATIO])


def is_by_layer(frame: pd.DataFrame) -> pd.Series:
    """Return whether each row's pruner ranks the weights of each layer separately."""
    scope = frame.reindex(columns=[_SCOPE])[_SCOPE]
    return (scope == "layer").where(scope.notna(), frame[schema.PRUNER].isin(schema.BY_LAYER))


def own_scope(params: Mapping[str, Any]) -> str:
    """Return a pruner's own value of the param `scope`, which `--scope` may override."""
    return "layer" if params.get(schema.PRUNER) in schema.BY_LAYER else schema.ABSENT[schema.SCOPE]
