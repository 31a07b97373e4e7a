"""Leave out pairs of runs that do not belong together, or whose numbers contradict each other.

`pull` and `exports` apply the same checks to the runs that they read, so that no estimate uses a wrongly paired run.
"""

import unicodedata
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from analysis.common.printable import printable
from analysis.runs import frames, schema
from analysis.runs.frames import ACCURACY_AFTER, ACCURACY_BEFORE, BY_CLASS, RECALL_AFTER, RECALL_BEFORE, RUN_ID

# Params in which a pruned run and its dense run must agree. If only one of the two has a param, the pair is left out.
_SHARED = (
    *(schema.DATASET, schema.DATASET_DIGEST, schema.IMAGE_SHAPE),
    *(schema.MODEL, schema.MODEL_DIGEST, schema.WEIGHTS_DIGEST, schema.SEED),
)
# Params in which a pruned run and its dense run must also agree, if both have the param.
_SHARED_IF_GIVEN = (
    *(schema.PROTOCOL, schema.VALIDATION_FRACTION, schema.NORMALIZATION_MEAN, schema.NORMALIZATION_STD),
)
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
# Equal recalls of two networks are reported if chance would make them equal with a probability below this.
_COINCIDENCE = 1e-9
# A param with more values than this was not typed by hand, so its spellings are not compared.
_MOST_SPELLINGS = 1_000


def sound_pairs(runs: pd.DataFrame, dense_runs: pd.DataFrame, left_out: list[str]) -> pd.DataFrame:
    """Leave out the faulty pairs of a dense run and a run made from it.

    Parameters
    ----------
    runs : DataFrame
        One row per pair, as in `frames.Study`.
    dense_runs : DataFrame
        Dense runs. A pair whose dense run is missing here is compared with other pairs of that dense run.
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
    shares = [ACCURACY_BEFORE, ACCURACY_AFTER, *_columns(runs, RECALL_BEFORE, RECALL_AFTER, schema.BOTH_RIGHT)]
    values = runs[shares].to_numpy(float)
    yield ((values < 0) | (values > 1)).any(axis=1), "a value outside [0, 1]"
    yield ~(values[:, :2] > 0).all(axis=1), f"{schema.TEST_ACCURACY} is 0 or not a number"
    yield from _other_networks(runs, dense_runs)
    before, after, support, both_right = _by_class(runs)
    yield np.isnan(before).all(axis=1), f"no metric {schema.RECALL}<class>"
    yield (np.isnan(before) != np.isnan(after)).any(axis=1), "the classes are not those of the dense run"
    yield ((support < 0) | np.isinf(support)).any(axis=1), f"{schema.SUPPORT}<class> is not a number of images"
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
    """Yield the faults of pairs that do not match their dense run."""
    shared_columns = [frames.column(name) for name in (*_SHARED, *_SHARED_IF_GIVEN)]
    metrics = _columns(runs, ACCURACY_BEFORE, RECALL_BEFORE)
    columns = [name for name in (*shared_columns, *metrics, schema.DENSE_RUN_ID) if name in dense_runs or name in runs]
    unlisted = runs[~runs[schema.DENSE_RUN_ID].isin(dense_runs[schema.DENSE_RUN_ID])]
    dense = dense_runs.reindex(columns=columns)
    if len(unlisted):
        dense = pd.concat([dense, unlisted.reindex(columns=columns)])
    dense = dense.drop_duplicates(schema.DENSE_RUN_ID)
    dense = dense.iloc[pd.Index(dense[schema.DENSE_RUN_ID]).get_indexer(runs[schema.DENSE_RUN_ID])]
    dense.index = runs.index
    for name, column in zip((*_SHARED, *_SHARED_IF_GIVEN), shared_columns, strict=True):
        if column in columns:
            own_values, dense_values = (frame.reindex(columns=[column])[column] for frame in (runs, dense))
            differ = (own_values != dense_values) & ~(own_values.isna() & dense_values.isna())
            if name in _SHARED_IF_GIVEN:
                # A pruned run must have the param if its dense run has protocol `released`, because reports mark this
                # protocol.
                differ &= (own_values.notna() & dense_values.notna()) | (
                    own_values.isna() & (dense_values == _RELEASED)
                )
            yield differ.to_numpy(bool), f"the {name} is not that of the dense run"
    differences = np.abs(runs[metrics].to_numpy(float) - dense[metrics].to_numpy(float))
    yield (differences > 0).any(axis=1), "accuracy or recalls before pruning are not those of the dense run"


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


# Warnings about suspicious runs, which are not left out.


def notes(runs: pd.DataFrame, dense_runs: pd.DataFrame) -> list[str]:
    """Return sentences on probable mistakes in the runs of a study.

    Parameters
    ----------
    runs, dense_runs : DataFrame
        As in `sound_pairs`.
    """
    found = [
        *_spellings(runs),
        *_given_networks(dense_runs),
        *_copies(runs, dense_runs),
        *_unchanged(runs),
        *_arithmetics(runs, dense_runs),
    ]
    return list(dict.fromkeys(found))


def _spellings(runs: pd.DataFrame) -> Iterator[str]:
    """Yield sentences on different values of a setting that look the same."""
    for column in frames.identity(runs):
        texts = runs[column].dropna().unique() if column not in (schema.RATIO, schema.SEED) else []
        if 1 < len(texts) <= _MOST_SPELLINGS:
            alike: dict[Any, list[str]] = {}
            for value in texts:
                alike.setdefault(_as_read(value), []).append(repr(value))
            for values in alike.values():
                if len(values) > 1:
                    subject = f"{frames.param(column)} has values that look alike but count as different"
                    yield f"{subject}: {some(sorted(values), most=10)}"
    for pruner in runs[schema.PRUNER].unique():
        if pruner != schema.CONTROL and _as_read(pruner) == schema.CONTROL:
            yield f"the pruner {pruner!r} counts as one that prunes: the control is called {schema.CONTROL!r}"


def _as_read(value: str) -> Any:
    """Normalise a value as a reader sees it: to a number, or to words without case and invisible characters."""
    try:
        number = float(value)
    except ValueError:
        number = np.nan
    if np.isfinite(number):
        return number
    plain = unicodedata.normalize("NFKC", value).casefold()
    visible = "".join(letter for letter in plain if unicodedata.category(letter) != "Cf")
    return " ".join(visible.split())


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


def _copies(runs: pd.DataFrame, dense_runs: pd.DataFrame) -> Iterator[str]:
    """Yield sentences on networks of different seeds that agree too well to be independent.

    Dense runs with the same given weights are the same network, as `_given_networks` says, and count once.
    """
    digest = _param(dense_runs, schema.WEIGHTS_DIGEST)
    dense = dense_runs[digest.isna() | ~digest.duplicated()].rename(columns={schema.DENSE_RUN_ID: RUN_ID})
    yield from _agreeing(dense, ACCURACY_BEFORE, RECALL_BEFORE, [])
    yield from _agreeing(runs, ACCURACY_AFTER, RECALL_AFTER, _settings(runs))


def _settings(runs: pd.DataFrame) -> list[str]:
    return [column for column in frames.params(runs) if schema.role(frames.param(column)).role == "setting"]


def _agreeing(networks: pd.DataFrame, accuracy: str, group: str, within: list[str]) -> Iterator[str]:
    recalls = _columns(networks, group)
    values = networks[[accuracy, *recalls]].fillna(-1).to_numpy(float)
    alike = networks[pd.Series(_one_number(values), networks.index).duplicated(keep=False)]
    images = alike.reindex(columns=[schema.SUPPORT + name.removeprefix(group) for name in recalls])
    alike = alike[_coincidence(alike[recalls].to_numpy(float), images.to_numpy(float)) < _COINCIDENCE]
    if alike.empty:
        return
    for _, copies in alike.groupby([*within, accuracy, *recalls], dropna=False):
        seeds = sorted(copies[schema.SEED].unique())
        if len(seeds) > 1:
            yield (
                f"{counted(frames.kinds(copies))} of seeds {some(map(str, seeds))} have the same recalls in every "
                f"class, as copies of one network have: {some(sorted(copies[RUN_ID]))}"
            )


def _one_number(values: np.ndarray) -> np.ndarray:
    """Hash each row to a number, because comparing numbers is faster than comparing rows."""
    return (values * np.random.default_rng(0).random(values.shape[1])).sum(axis=1)


def _coincidence(recall: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Bound the probability, (runs,), that another network has the same recalls, (runs, classes).

    Over seeds, the number of correct predictions of a class is assumed to vary by half the binomial standard deviation.
    A class of unknown size is assumed to have 100 images.
    """
    deviation = np.sqrt(np.where(np.isnan(images), 100, images) * recall * (1 - recall)) / 2
    with np.errstate(divide="ignore"):
        chance = np.minimum(1, 1 / (2 * np.sqrt(np.pi) * deviation))
    return np.nanprod(chance, axis=1)


def _unchanged(runs: pd.DataFrame) -> Iterator[str]:
    """Yield a note if pruned networks have the same recalls as their dense networks."""
    before, after, support, _ = _by_class(runs)
    is_unchanged = ((before == after) | (np.isnan(before) & np.isnan(after))).all(axis=1)
    is_unchanged &= ((runs[schema.PRUNER] != schema.CONTROL) & (frames.kinds(runs) == schema.PRUNED)).to_numpy()
    is_unchanged[is_unchanged] = _coincidence(before[is_unchanged], support[is_unchanged]) < _COINCIDENCE
    if is_unchanged.any():
        yield (
            f"in {counted(frames.kinds(runs[is_unchanged]))} every class has the recall of the dense run, as if "
            f"nothing was pruned: {some(sorted(runs.loc[is_unchanged, RUN_ID]))}"
        )


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


def _columns(frame: pd.DataFrame, *prefixes: str) -> list[str]:
    return [column for column in frame if column.startswith(prefixes)]


def _param(frame: pd.DataFrame, name: str) -> pd.Series:
    column = frames.column(name)
    return frame[column] if column in frame else pd.Series(None, frame.index, dtype=object)


def _by_class(runs: pd.DataFrame) -> list[np.ndarray]:
    """Return recall before, recall after, support and `both_right`, each (runs, classes), NaN if missing."""
    names = list(dict.fromkeys([*frames.class_names(runs), *frames.class_names(runs, RECALL_AFTER)]))
    return [runs.reindex(columns=[group + name for name in names]).to_numpy(float) for group in BY_CLASS]
