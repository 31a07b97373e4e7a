"""Tables of iteratively pruned networks: a row for each network, iteration and class, or for each class."""

import numpy as np
import pandas as pd

from analysis.runs import frames, schema
from analysis.runs.names import SGD
from analysis.study import arrays
from analysis.study.operating_points import sparsity

# Columns of the tables that this module makes. The regression uses the same names.
NETWORK, ITERATION, CLASS = "network", "iteration", "class"
TECHNIQUE, TREATMENT = "pruning_technique", "weight_treatment"
ACCURACY, ACCURACY_0, QUARTILE = "accuracy", "accuracy0", "accuracy0_quartile"
SPARSITY, IMBALANCE, ENTROPY = "sparsity", "imbalance", "class_entropy"
IMAGES, FEWEST_IMAGES, MOST_IMAGES = "training_images", "fewest_images", "most_images"
OPTIMIZER, BATCH_SIZE, LEARNING_RATE = schema.OPTIMIZER, schema.BATCH_SIZE, schema.LEARNING_RATE
_KEY = [schema.DATASET, schema.MODEL, TREATMENT, TECHNIQUE, schema.SEED, NETWORK]
_CHOICES = [OPTIMIZER, BATCH_SIZE, LEARNING_RATE]
_CHARACTERISTICS = [IMAGES, IMBALANCE, ENTROPY]


def iterated(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs that are levels of iterative pruning, with further columns that identify network and level.

    Parameters
    ----------
    runs : DataFrame
        As `pull.pull_runs` returns it.

    Returns
    -------
    DataFrame
        The runs with the params `keep`, `weight_treatment`, `iteration` and, except for the control, `sparsity`, with
        these further columns:

        - network: str, equal for all levels of one iteratively pruned network;
        - iteration: int, from 1;
        - sparsity: float, as `operating_points.sparsity` returns it;
        - pruning_technique: the pruner;
        - weight_treatment;
        - optimizer (categories, sgd first), batch_size and learning_rate (NaN if unknown), with which the network and
          its levels were trained.
    """
    columns = [
        frames.column(name) for name in (schema.KEEP, schema.WEIGHT_TREATMENT, schema.ITERATION, schema.SPARSITY)
    ]
    complete = runs.reindex(columns=list(dict.fromkeys([*runs.columns, *columns])))
    keep, treatment, iteration, requested = (complete[name] for name in columns)
    iteration, requested = (pd.to_numeric(text, errors="coerce") for text in (iteration, requested))
    requested = requested.mask(complete[schema.PRUNER] == schema.CONTROL, 0.0)
    is_level = keep.notna() & treatment.notna() & (iteration >= 1) & (iteration % 1 == 0) & requested.between(0, 1)
    levels = complete[is_level]
    told_apart = [schema.DENSE_RUN_ID, schema.PRUNER, *_settings_of_levels(levels)]
    return levels.assign(
        **{
            NETWORK: levels[told_apart].fillna("").astype(str).agg(" ".join, axis=1) if len(levels) else "",
            ITERATION: iteration[is_level].astype(int),
            SPARSITY: sparsity(levels),
            TECHNIQUE: levels[schema.PRUNER],
            TREATMENT: treatment[is_level],
            **_training_choices(levels),
        }
    ).reset_index(drop=True)


def _training_choices(levels: pd.DataFrame) -> dict[str, pd.Series]:
    choices = levels.reindex(columns=list(map(frames.column, _CHOICES)))
    optimizer, batch_size, learning_rate = (choices[column] for column in choices)
    optimizer = optimizer.astype(object).fillna(schema.ABSENT[OPTIMIZER])
    names = sorted(optimizer.unique(), key=lambda name: (name != SGD, name))
    return {
        OPTIMIZER: optimizer.astype(pd.CategoricalDtype(names)),
        BATCH_SIZE: pd.to_numeric(batch_size, errors="coerce"),
        LEARNING_RATE: pd.to_numeric(learning_rate, errors="coerce"),
    }


def _settings_of_levels(levels: pd.DataFrame) -> list[str]:
    """Return the columns of settings that differ between levels, apart from iteration, ratio and pruner."""
    along = {schema.ITERATION, schema.RATIO, schema.PRUNER}
    settings = [name for name in frames.identity(levels) if frames.param(name) not in along]
    return [name for name in settings if levels[name].nunique(dropna=False) > 1]


def class_levels(runs: pd.DataFrame, characteristics: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return the accuracy of each class at each iteration of each network.

    Every network also has rows for its dense network, as iteration 0 at sparsity 0.

    Parameters
    ----------
    runs : DataFrame
        As `pull.pull_runs` returns it.
    characteristics : DataFrame, optional
        As `characteristics.pulled` returns it.

    Returns
    -------
    DataFrame, sorted by dataset, model, weight_treatment, pruning_technique, seed, network, iteration and class
        - dataset, model, weight_treatment, pruning_technique, seed, network, dense_run_id, iteration, sparsity.
        - class: the class's name in metrics, as categories in the order of the labels. If there are no characteristics,
          the order is that of the columns of `runs`.
        - support: number of test images of the class.
        - accuracy: recall of the class.
        - accuracy0: recall of the class at iteration 0.
        - accuracy0_quartile: quartile of accuracy0 among the classes of the network, 1 to 4.
        - training_images, imbalance, class_entropy: characteristics of the class, NaN if unknown.
        - optimizer, batch_size, learning_rate: as in `iterated`.
    """
    levels = iterated(runs)
    classes = _by_label(frames.class_names(levels), characteristics)
    before = _by_class(levels, frames.RECALL_BEFORE, classes)
    columns = [*_KEY, schema.DENSE_RUN_ID, *_CHOICES, ITERATION, SPARSITY]
    values = {
        CLASS: pd.Categorical(classes * len(levels), classes, ordered=True),
        "support": _by_class(levels, schema.SUPPORT, classes).ravel(),
        ACCURACY: _by_class(levels, frames.RECALL_AFTER, classes).ravel(),
        ACCURACY_0: before.ravel(),
        QUARTILE: quartiles(before).ravel(),
    }
    rows = levels[columns].loc[levels.index.repeat(len(classes))].reset_index(drop=True).assign(**values)
    rows = rows[rows[ACCURACY_0].notna()]
    dense = rows.drop_duplicates([NETWORK, CLASS])
    dense = dense.assign(**{ITERATION: 0, SPARSITY: 0.0, ACCURACY: dense[ACCURACY_0]})
    rows = pd.concat([dense, rows]).sort_values([*_KEY, ITERATION], kind="stable", ignore_index=True)
    return _with_characteristics(rows, characteristics)


def trained_classes(runs: pd.DataFrame, characteristics: pd.DataFrame | None) -> pd.DataFrame:
    """Return the number of training images of each class, and its accuracy before pruning.

    Parameters
    ----------
    runs, characteristics
        As for `class_levels`.

    Returns
    -------
    DataFrame, a row for each class of a data set and model whose training images are known
        dataset, model, class; networks (number of dense networks), the means over them of training_images and
        accuracy0, and the training images of the network with the fewest and of that with the most (fewest_images,
        most_images). Classes are in the order of their labels.
    """
    dense = runs.drop_duplicates(schema.DENSE_RUN_ID)
    classes, before, _ = arrays.recalls(dense)
    columns = [schema.DATASET, schema.MODEL, schema.DENSE_RUN_ID]
    rows = dense[columns].loc[dense.index.repeat(len(classes))].reset_index(drop=True)
    names = pd.Categorical(classes * len(dense), _by_label(classes, characteristics), ordered=True)
    rows = rows.assign(**{CLASS: names, ACCURACY_0: before.ravel()})
    rows = _with_characteristics(rows[rows[ACCURACY_0].notna()], characteristics)
    rows = rows[rows[IMAGES].notna()]
    by_class = rows.groupby([schema.DATASET, schema.MODEL, CLASS], observed=True)
    return by_class.agg(
        **{
            "networks": (IMAGES, "size"),
            IMAGES: (IMAGES, "mean"),
            FEWEST_IMAGES: (IMAGES, "min"),
            MOST_IMAGES: (IMAGES, "max"),
            ACCURACY_0: (ACCURACY_0, "mean"),
        }
    ).reset_index()


def _by_class(levels: pd.DataFrame, group: str, classes: list[str]) -> np.ndarray:
    """Return the values of a group of columns, (levels, classes)."""
    return levels.reindex(columns=[group + name for name in classes]).to_numpy(float)


def _by_label(classes: list[str], characteristics: pd.DataFrame | None) -> list[str]:
    """Return class names in the order of their labels; names without a known label come last."""
    if characteristics is None or not len(characteristics):
        return classes
    labels = _named(characteristics).groupby(CLASS)["index"].min()
    return sorted(classes, key=lambda name: labels.get(name, np.inf))


def _named(characteristics: pd.DataFrame) -> pd.DataFrame:
    """Return characteristics with the name of each class replaced by its name in metrics."""
    rows = characteristics.sort_values([frames.RUN_ID, "index"])
    names = rows.groupby(frames.RUN_ID)[CLASS].transform(lambda own: schema.metric_names(list(own)))
    return rows.assign(**{CLASS: names})


def quartiles(accuracies: np.ndarray) -> np.ndarray:
    """Return the quartile, 1 to 4, of each class's accuracy among the classes of its network.

    Parameters
    ----------
    accuracies : (networks, classes)
        NaN if a network does not have the class.

    Returns
    -------
    (networks, classes), float
        1 for values up to the first quartile of the row, 4 for values above the third; NaN remains NaN.
    """
    if not accuracies.size:
        return np.empty_like(accuracies)
    cuts = np.nanquantile(accuracies, [0.25, 0.5, 0.75], axis=1)
    return np.where(np.isnan(accuracies), np.nan, 1.0 + (accuracies > cuts[:, :, None]).sum(axis=0))


def _with_characteristics(rows: pd.DataFrame, characteristics: pd.DataFrame | None) -> pd.DataFrame:
    if characteristics is None or not len(characteristics):
        return rows.assign(**dict.fromkeys(_CHARACTERISTICS, np.nan))
    of_classes = _named(characteristics).rename(columns={frames.RUN_ID: schema.DENSE_RUN_ID, "entropy": ENTROPY})
    of_classes[CLASS] = of_classes[CLASS].astype(rows[CLASS].dtype)
    key = [schema.DENSE_RUN_ID, CLASS]
    return rows.merge(of_classes[[*key, *_CHARACTERISTICS]], on=key, how="left")
