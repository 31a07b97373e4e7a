"""Leave out pairs of runs that do not belong together, or whose numbers contradict each other.

`pull` and `exports` apply the same checks to the runs that they read, so that no estimate uses a wrongly paired run.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd

from analysis.common.printable import printable
from analysis.runs import frames, schema
from analysis.runs.frames import ACCURACY_AFTER, ACCURACY_BEFORE, BY_CLASS, RECALL_AFTER, RUN_ID

# Params in which a pruned run and its dense run must agree. If only one of the two has a param, the pair is left out.
_SHARED = (
    *(schema.DATASET, schema.DATASET_DIGEST, schema.IMAGE_SHAPE),
    *(schema.MODEL, schema.MODEL_DIGEST, schema.WEIGHTS_DIGEST, schema.SEED),
)
# Params in which a pruned run and its dense run must also agree, if both have the param.
_SHARED_IF_GIVEN = (schema.PROTOCOL, schema.VALIDATION_FRACTION)
# Pruners that keep exactly as many weights as the ratio implies. Others, such as `up-signed`, may keep more, and so may
# all pruners in runs of protocol `released`.
_EXACT = ("mp", "gp", "up", "rp", "up-sum")
_RELEASED = "released"
# The realized ratio may differ from the requested one by this factor, because numbers of weights per layer are rounded.
_RATIO_TOLERANCE = 1.25
# A larger ratio is taken for an error, because less than a millionth of the parameters would be left.
_LARGEST_RATIO = 1e6
# Shares that were rounded to two digits may seem to contradict each other by up to this.
_ROUNDING = 0.015


def sound_pairs(runs: pd.DataFrame, dense_runs: pd.DataFrame, left_out: list[str]) -> pd.DataFrame:
    """Leave out the faulty pairs of a dense run and a run made from it.

    Parameters
    ----------
    runs : DataFrame
        One row per pair, as in `frames.Study`.
    dense_runs : DataFrame
        The dense runs of the pairs.
    left_out : list of str
        A sentence is appended for each reason, with the runs left out for it.

    Returns
    -------
    DataFrame
    """
    is_faulty = np.zeros(len(runs), dtype=bool)
    for wrong, reason in _faults(runs, dense_runs):
        tell(runs[wrong & ~is_faulty], reason, left_out)
        is_faulty |= wrong
    runs = frames.rows(runs, ~is_faulty)
    has_other_images = _other_test_images(runs)
    tell(runs[has_other_images], "most runs of the data set have other test images or classes", left_out)
    return frames.rows(runs, ~has_other_images)


def tell(left_out_runs: pd.DataFrame, reason: str, left_out: list[str], kinds: pd.Series | None = None) -> None:
    """Add a sentence on runs that were left out, unless there are none."""
    if len(left_out_runs):
        count = counted(frames.kinds(left_out_runs) if kinds is None else kinds)
        left_out.append(f"{count} left out, {reason}: {some(sorted(left_out_runs[RUN_ID]))}")


def counted(kinds: pd.Series) -> str:
    """Count the runs of each kind in words, such as `3 dense runs and 1 pruned run`."""
    numbers = kinds.value_counts(sort=False).items()
    return " and ".join(f"{number:,} {kind} run{'s' if number > 1 else ''}" for kind, number in numbers)


def some(names: Iterable[str], most: int = 3) -> str:
    """List the first names and the number of the others."""
    names = list(names)
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


# Faults in a pair's own values, and in those of its dense run.


def _faults(runs: pd.DataFrame, dense_runs: pd.DataFrame) -> Iterator[tuple[np.ndarray, str]]:
    """Yield a mask of the faulty pairs and a description for each kind of fault."""
    yield from _ratios(runs)
    yield from _other_networks(runs, dense_runs)
    before, after, support, both_right = _by_class(runs)
    for accuracy, recall, whose in ((ACCURACY_AFTER, after, ""), (ACCURACY_BEFORE, before, " of the dense run")):
        contradicts = _contradicts(runs[accuracy].to_numpy(float), recall, support)
        yield contradicts, f"{schema.TEST_ACCURACY}{whose} contradicts the recalls and the supports"
    impossible = (both_right > np.minimum(before, after) + _ROUNDING) | (both_right < before + after - 1 - _ROUNDING)
    yield impossible.any(axis=1), f"{schema.BOTH_RIGHT}<class> contradicts the recalls before and after"


def _ratios(runs: pd.DataFrame) -> Iterator[tuple[np.ndarray, str]]:
    ratio, pruner = runs[schema.RATIO], runs[schema.PRUNER]
    is_control = pruner == schema.CONTROL
    yield ~(ratio >= 1), "ratio is below 1, although it is parameters before / parameters after pruning"
    yield ratio > _LARGEST_RATIO, f"ratio is above {_LARGEST_RATIO:,.0f}"
    yield is_control & (ratio != 1), f"{schema.CONTROL} prunes nothing, but its ratio is not 1"
    if schema.REALIZED_RATIO in runs:
        realized = runs[schema.REALIZED_RATIO]
        # A control that follows an earlier pruning has only the weights that this pruning left.
        follows = _param(runs, schema.ITERATION).fillna("1") != "1"
        is_exact = is_control | (pruner.isin(_EXACT) & (_param(runs, schema.PROTOCOL) != _RELEASED))
        too_many = (realized > ratio * _RATIO_TOLERANCE) & ~(is_control & follows)
        too_few = (realized * _RATIO_TOLERANCE < ratio) & is_exact
        yield too_many | too_few | (realized * _RATIO_TOLERANCE < 1), f"{schema.REALIZED_RATIO} contradicts the ratio"


def _other_networks(runs: pd.DataFrame, dense_runs: pd.DataFrame) -> Iterator[tuple[np.ndarray, str]]:
    """Yield the faults of pairs whose params do not match those of their dense run."""
    places = pd.Index(dense_runs[schema.DENSE_RUN_ID]).get_indexer(runs[schema.DENSE_RUN_ID])
    dense = dense_runs.iloc[places].set_index(runs.index)
    for name in (*_SHARED, *_SHARED_IF_GIVEN):
        own_values, dense_values = _param(runs, name), _param(dense, name)
        differ = (own_values != dense_values) & ~(own_values.isna() & dense_values.isna())
        if name in _SHARED_IF_GIVEN:
            # A pruned run must have the param if its dense run has protocol `released`, because reports mark this
            # protocol.
            differ &= (own_values.notna() & dense_values.notna()) | (own_values.isna() & (dense_values == _RELEASED))
        yield differ.to_numpy(bool), f"the {name} is not that of the dense run"


def _contradicts(accuracy: np.ndarray, recall: np.ndarray, support: np.ndarray) -> np.ndarray:
    """Find runs whose accuracy, (runs,), is not the mean of recalls, (runs, classes), weighted by support.

    If a support is unknown, the accuracy only needs to be between the lowest and the highest recall.
    """
    has_recall = ~np.isnan(recall)
    images = np.where(has_recall, support, 0)
    total = images.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(has_recall, recall * images, 0).sum(axis=1) / total
    least, greatest = (np.where(has_recall, recall, filler).T for filler in (np.inf, -np.inf))
    least, greatest = least.min(axis=0, initial=np.inf), greatest.max(axis=0, initial=-np.inf)
    has_images = total > 0
    off = np.abs(np.where(has_images, mean, accuracy) - accuracy)
    return (off > _ROUNDING) | (accuracy < least - _ROUNDING) | (accuracy > greatest + _ROUNDING)


def _other_test_images(runs: pd.DataFrame) -> np.ndarray:
    """Find runs tested on other classes or numbers of images than most runs of their data set.

    Runs share a data set if they agree in its name, its digest and all undeclared params, which may select a part of
    it.
    """
    before, _, support, _ = _by_class(runs)
    has_recall = ~np.isnan(before)
    images = np.where(has_recall, support, -1)
    unlike = np.zeros(len(runs), dtype=bool)
    if not len(runs) or (images == images[0]).all():
        return unlike
    columns = [frames.column(name) for name in (schema.DATASET, schema.DATASET_DIGEST)]
    columns += [name for name in frames.params(runs) if frames.param(name) not in schema.PARAM_ROLES]
    data_set = runs.groupby([name for name in columns if name in runs], dropna=False).ngroup().to_numpy()
    has_supports = ~np.isnan(images).any(axis=1)
    unlike[has_supports] = _unlike_most(_one_number(images[has_supports]), data_set[has_supports])
    return unlike | _unlike_most(_one_number(has_recall), data_set)


def _unlike_most(values: np.ndarray, data_set: np.ndarray) -> np.ndarray:
    """Find runs that differ from the most frequent value of their data set (in a tie, the value seen first)."""
    together = pd.DataFrame({"data_set": data_set, "value": values})
    counts = together.reset_index(names="first").groupby(["data_set", "value"], as_index=False)["first"]
    counts = counts.agg(["count", "min"]).sort_values(["count", "min"], ascending=[False, True])
    most = counts.drop_duplicates("data_set").set_index("data_set")["value"]
    return values != most.reindex(data_set).to_numpy()


def _one_number(values: np.ndarray) -> np.ndarray:
    """Hash each row to a number, because comparing numbers is faster than comparing rows."""
    return (values * np.random.default_rng(0).random(values.shape[1])).sum(axis=1)


# Warnings about suspicious runs, which are not left out.


def notes(runs: pd.DataFrame, dense_runs: pd.DataFrame) -> list[str]:
    """Return sentences on probable mistakes in the runs of a study.

    Parameters
    ----------
    runs, dense_runs : DataFrame
        As in `sound_pairs`.
    """
    return list(dict.fromkeys([*_given_networks(dense_runs), *_arithmetics(runs, dense_runs)]))


def _given_networks(dense_runs: pd.DataFrame) -> Iterator[str]:
    """Yield sentences on dense runs of different seeds that are one network, whose weights were given."""
    digest = frames.column(schema.WEIGHTS_DIGEST)
    if digest not in dense_runs:
        return
    given = dense_runs[dense_runs[digest].notna()]
    for _, same in given.groupby([digest, *_settings(given)], dropna=False):
        seeds = sorted(same[schema.SEED].unique())
        if len(seeds) > 1:
            model, dataset = (printable(str(same[name].iloc[0])) for name in (schema.MODEL, schema.DATASET))
            yield (
                f"seeds {some(map(str, seeds))} of {model} on {dataset} prune the same given network, so intervals "
                "hold for new fine-tunings of it, not for other networks"
            )


def _settings(runs: pd.DataFrame) -> list[str]:
    return [column for column in frames.params(runs) if schema.role(frames.param(column)).role == "setting"]


def _arithmetics(runs: pd.DataFrame, dense_runs: pd.DataFrame) -> Iterator[str]:
    """Yield a sentence for each model and data set of which a cell has networks of different arithmetic."""
    dense = dense_runs[dense_runs[schema.DENSE_RUN_ID].isin(runs[schema.DENSE_RUN_ID])]
    pooled = pd.concat(map(_of_several_arithmetics, (dense, runs)))
    for (dataset, model), networks in pooled.groupby([schema.DATASET, schema.MODEL]):
        numbers = networks[schema.ARITHMETIC].value_counts().sort_index().items()
        counts = [f"{number:,} with {schema.ARITHMETIC} {printable(value)}" for value, number in numbers]
        yield (
            f"means are over networks of {printable(model)} on {printable(dataset)} whose arithmetic differs or is not "
            f"recorded: {some(counts, most=10)}"
        )


def _of_several_arithmetics(networks: pd.DataFrame) -> pd.DataFrame:
    """Select the networks of cells that have several arithmetics: their data set, model and arithmetic."""
    recorded = networks.reindex(columns=[schema.ARITHMETIC])[schema.ARITHMETIC].astype(object)
    arithmetic = recorded.fillna("not recorded")
    described = networks[[schema.DATASET, schema.MODEL]].assign(**{schema.ARITHMETIC: arithmetic})
    if arithmetic.nunique() < 2:
        return described[:0]
    cell = networks.groupby(_settings(networks), dropna=False).ngroup()
    return described[arithmetic.groupby(cell).transform("nunique") > 1]


# Columns.


def _param(frame: pd.DataFrame, name: str) -> pd.Series:
    column = frames.column(name)
    return frame[column] if column in frame else pd.Series(None, frame.index, dtype=object)


def _by_class(runs: pd.DataFrame) -> list[np.ndarray]:
    """Return recall before, recall after, support and `both_right`, each (runs, classes), NaN if missing."""
    names = list(dict.fromkeys([*frames.class_names(runs), *frames.class_names(runs, RECALL_AFTER)]))
    return [runs.reindex(columns=[group + name for name in names]).to_numpy(float) for group in BY_CLASS]
