"""What is measured of each network of a study, in points where it is a recall or an accuracy."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from of_analysis import (
    CONTROL,
    Recalls,
    RunArrays,
    StudyPredictions,
    alpha,
    alpha_shared,
    excess_loss,
    losses,
    proportion,
    proportions,
    raw_slope,
    run_arrays,
)

# From the controls to the pruned networks: alpha, the raw slope s, and s / k, in which k is the error of pruned
# networks divided by that of their controls.
FROM_CONTROL = ["alpha_on_control", "slope_on_control", "alpha_beyond"]


def outcomes(runs: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each run whose network is not at chance.

    Returns
    -------
    DataFrame
        - run_id;
        - accuracy_before, accuracy: of the dense network, and of the network of the run;
        - largest_excess; its floor, which noise of the test images alone would give; beyond_floor, the difference;
        - alpha, raw_slope: since the dense network; odds_ratio of the error, and alpha_minus_odds_ratio;
        - alpha_without, raw_slope_without: without the class that has the largest squared gaps in the dense networks of
          the data set, and so most leverage;
        - gaps: the dense network's recall of each class minus its accuracy; classes: their names.
    """
    study = run_arrays(runs)
    tables = []
    for with_guesses, has in study.class_sets():
        places = with_guesses[~study.at_chance[with_guesses]]
        before, after = study.measured(places, has)
        excess, floor = 100 * excess_loss(before, after).max(-1), 100 * study.floors(places, has)
        fewer = without_class(study, places, has)
        columns = {
            "run_id": study.runs["run_id"].to_numpy()[places],
            "accuracy_before": 100 * before.accuracy,
            "accuracy": 100 * after.accuracy,
            "largest_excess": excess,
            "floor": floor,
            "beyond_floor": excess - floor,
            "alpha": alpha(before.balance, after.balance),
            "raw_slope": raw_slope(before, after),
            "alpha_without": alpha(*(each.balance for each in fewer)),
            "raw_slope_without": raw_slope(*fewer),
            "odds_ratio": proportion.odds_ratio(before.accuracy, after.accuracy),
            "gaps": list(100 * before.raw_balance),
            "classes": [study.names[has]] * len(places),
        }
        tables.append(pd.DataFrame(columns))
    measured = pd.concat(tables, ignore_index=True)
    return measured.assign(alpha_minus_odds_ratio=measured["alpha"] - measured["odds_ratio"])


def without_class(study: RunArrays, rows: np.ndarray, classes: np.ndarray) -> list[Recalls]:
    """Return recalls before and after, as `measured` does, without the class that has most leverage."""
    before, after = study.measured(rows, classes)
    return [_without(each, study.support[np.ix_(rows, classes)], before) for each in (before, after)]


def _without(recalls: Recalls, support: np.ndarray, dense: Recalls) -> Recalls:
    """Leave out the class with the largest squared gaps in dense networks."""
    others = np.delete(np.arange(support.shape[1]), np.square(dense.raw_balance).mean(0).argmax())
    recall, support = recalls.recall[:, others], support[:, others]
    return Recalls(recall, (recall * support).sum(1) / support.sum(1))


def class_cost(study: RunArrays, name: str) -> np.ndarray:
    """Compute the recall that a class loses beyond the accuracy, compared with the control, in points; (runs,).

    It is NaN for runs without a control, and for runs of data sets that lack the class.
    """
    gap = 100 * (study.after[:, list(study.names).index(name)] - study.accuracy_after)
    return np.where(study.controls >= 0, gap[study.controls] - gap, np.nan)


def all_costs(study: RunArrays, rows: np.ndarray, names: Iterable[str]) -> pd.DataFrame:
    """Return the costs of classes in networks that have a control, in points, a row for each network."""
    return pd.DataFrame({name: class_cost(study, name)[rows] for name in names})


def f1_costs(
    study: RunArrays,
    rows: np.ndarray,
    controls: np.ndarray,
    label: np.ndarray | None,
    predictions: StudyPredictions | None,
) -> np.ndarray | float:
    """Compute what classes lose of F1 beyond the mean over classes, compared with controls, in points; (classes,).

    Parameters
    ----------
    study : RunArrays
    rows, controls : (networks,), integers
        Rows of pruned networks, and of their controls.
    label : (images,), integers, optional
        For each image, the place of its class among the result. The result is NaN without it.
    predictions : StudyPredictions, optional
    """
    ids = study.runs["run_id"].iloc
    pairs = predictions.of_pairs(ids[controls], ids[rows]) if predictions else None
    if label is None or pairs is None:
        return np.nan
    before, after = (np.mean([network.f1 for network in side], axis=0) for side in (pairs.before, pairs.after))
    lost, place = np.empty(len(before)), np.unique(pairs.images.place, return_index=True)[1]
    lost[label[place]] = 100 * (before - after)
    return lost - lost.mean()


def from_control(study: RunArrays) -> pd.DataFrame:
    """Return the slopes from the controls to the pruned networks, on the test images used, a row for each network.

    The values of a cell's networks are jackknife pseudo-values: their mean estimates the value of the cell, and they
    can be treated as values of independent networks. Cells of fewer than three networks are left out.

    Returns
    -------
    DataFrame
        run_id, and `FROM_CONTROL`.
    """
    tables = []
    for cell in study.cells:
        if study.runs["pruner"].iloc[cell[0]] == CONTROL:
            continue
        rows = study.with_sloped_control(study.sloped(cell))
        if recalls := proportions.paired_recalls(study, rows):
            values = pd.DataFrame(_pseudo_values(*recalls), columns=FROM_CONTROL)
            values.insert(0, "run_id", study.runs["run_id"].to_numpy()[rows])
            tables.append(values)
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["run_id", *FROM_CONTROL])


def _pseudo_values(before: np.ndarray, after: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Compute the pseudo-values of `slopes`, leaving out one network at a time; (networks, 3)."""
    n = len(before)
    without_one = [slopes(np.delete(before, each, 0), np.delete(after, each, 0), share) for each in range(n)]
    return n * slopes(before, after, share) - (n - 1) * np.array(without_one)


def slopes(before: np.ndarray, after: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Compute alpha, s and s / k from recalls of controls to recalls of pruned networks, (networks, classes); (3,).

    `share` is each class's share of the test images.
    """
    found = proportion.on_these_images(before, after, share)
    balances = (Recalls(recall, recall @ share).balance for recall in (before, after))
    return np.array([alpha_shared(*balances).estimate, found.slope, found.slope / found.growth])


def named_costs(study: RunArrays, named: Mapping[str, str]) -> pd.DataFrame:
    """Return what classes lose compared with the control, in points.

    Returns
    -------
    DataFrame
        run_id; named_cost, the cost of the class that `named` has for the data set of each run; and largest_loss, the
        loss of the network's hardest-hit class, which differs between networks.
    """
    is_dataset = [study.runs["dataset"].eq(dataset) for dataset in named]
    costs = np.select(is_dataset, [class_cost(study, name) for name in named.values()], np.nan)
    losses = pd.DataFrame(study.after[study.controls] - study.after).max(axis=1).where(study.controls >= 0)
    return study.runs[["run_id"]].assign(named_cost=costs, largest_loss=100 * losses)


def class_costs(label: np.ndarray, before: np.ndarray, after: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
    """Return what compression costs each class, for studies that store only which predictions are right.

    Parameters
    ----------
    label : (images,), integers
        Class of each image, from 0.
    before, after : (networks, images), bool
        Whether each reference network, for example a control, and each compressed network is right about each image.
    names : (classes,)

    Returns
    -------
    DataFrame
        class; loss and cost with the columns of `losses.columns`, in points but for p; n, the number of networks;
        accuracy_loss and no_class_more, the largest bound of all losses, which are the same in all rows; and whether a
        class is the costliest.
    """
    spreads = {"loss": losses.between(label, before, after), "cost": losses.between(label, before, after, 1)}
    table = pd.concat([pd.DataFrame(losses.columns(name, each)) for name, each in spreads.items()], axis=1)
    table *= np.where(table.columns.str.endswith("_p"), 1, 100)
    return table.assign(
        **{"class": names, "n": len(after)},
        accuracy_loss=100 * (before.mean(1) - after.mean(1)).mean(),
        no_class_more=table["loss_upper_all"].max(),
        costliest=table.index == table["cost"].idxmax(),
    )
