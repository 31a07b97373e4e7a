"""Methods at an accuracy below that of the control, on this study's networks and, with those it reads, on all."""

from collections.abc import Iterator
from functools import cache

import numpy as np
import pandas as pd
from of_analysis import (
    RunArrays,
    StudyPredictions,
    ValidationRecalls,
    cell_costs,
    choose_networks,
    paired,
    run_arrays,
    same_accuracy,
    validation_counts,
)
from outcomes import f1_costs, outcomes
from published import Study
from report_tables import in_points

POINTS_BELOW = 1.0
BASELINE, CONTROL = "mp", "control"


@cache
def differences(study: Study) -> pd.DataFrame:
    """Return `equal_accuracy.csv` as `in_points` has it, of this study's networks (`own`) and of all (`all`)."""
    tables = {which: same_accuracy(*networks) for which, networks in _networks(study).items()}
    table = in_points(pd.concat(tables, names=["networks", None]).reset_index("networks"))
    return table.assign(below=table["points_below_control"].map("{:g}".format))


def without_class(study: Study) -> pd.DataFrame:
    """Compare methods with MP as `differences` does, one point below the control, by `alpha_without` of `outcomes`.

    Returns
    -------
    DataFrame
        networks, as in `differences`; dataset; of; difference, difference_low, difference_high, difference_p, n.
    """
    rows = []
    for which, (runs, validation, _) in _networks(study).items():
        chosen = choose_networks(runs, validation, POINTS_BELOW).merge(outcomes(runs), on="run_id")
        for dataset, own in chosen.groupby("dataset"):
            slopes = own.pivot_table("alpha_without", "dense_run_id", "method")
            for method in slopes.columns.drop(BASELINE):
                found = paired(slopes[method], slopes[BASELINE])
                of = f"{method} minus {BASELINE}"
                rows.append({"networks": which, "dataset": dataset, "of": of, "difference_p": found["p"], **found})
    return pd.DataFrame(rows)


@cache
def costs(study: Study) -> pd.DataFrame:
    """Return what each method costs each class at an accuracy one point below that of the control.

    Returns
    -------
    DataFrame
        Losses and costs are shares of 1. Networks with a teacher are compared only with MP, because no control of the
        study has a teacher.

        - networks, as in `differences`; dataset; of: "up minus control" or "up minus mp"; n (networks);
        - class; its loss and cost, as in `classes.csv`; f1_cost; whether it is the costliest;
        - accuracy_loss, and no_class_more, the largest of the bounds of all losses.
    """
    tables = {
        which: class_costs(run_arrays(runs), choose_networks(runs, validation, POINTS_BELOW), predictions)
        for which, (runs, validation, predictions) in _networks(study).items()
    }
    return pd.concat(tables, names=["networks", None]).reset_index("networks")


@cache
def _networks(study: Study) -> dict[str, tuple[pd.DataFrame, ValidationRecalls, StudyPredictions]]:
    """Return runs, recalls on validation images, and predictions."""
    own, others = study.folder.name, study.spec.get("reads", [])
    names = {"own": [own]} | ({"all": [own, *others]} if others else {})
    frames = {which: study.frames(*each) for which, each in names.items()}
    return {
        which: (own.runs, ValidationRecalls(own.table(validation_counts.TABLE)), StudyPredictions(own.predictions))
        for which, own in frames.items()
    }


def class_costs(arrays: RunArrays, chosen: pd.DataFrame, predictions: StudyPredictions | None = None) -> pd.DataFrame:
    """Return `costs` for chosen networks, as `choose_networks` returns them."""
    places = pd.Series(np.arange(len(arrays.runs)), arrays.runs["run_id"])
    chosen = chosen.assign(place=chosen["run_id"].map(places))
    tables = []
    for dataset, own in chosen.groupby("dataset"):
        for of, after, before in _comparisons(own.pivot_table("place", "dense_run_id", "method"), arrays):
            references = np.full(len(arrays.runs), -1)
            references[after] = before
            found, has = cell_costs(arrays, after, predictions, references)
            assert found is not None  # these networks have recalls
            accuracy_loss = (arrays.accuracy_after[before] - arrays.accuracy_after[after]).mean()
            f1 = f1_costs(arrays, after, before, found.own.label, predictions)
            table = found.table.assign(**{"class": arrays.names[has]}, f1_cost=f1 / 100, dataset=dataset, of=of)
            table["n"] = len(after)
            costliest, bound = table["cost"].eq(table["cost"].max()), table["loss_from_control_upper_all"].max()
            tables.append(table.assign(accuracy_loss=accuracy_loss, no_class_more=bound, costliest=costliest))
    return pd.concat(tables, ignore_index=True)


def _comparisons(by_network: pd.DataFrame, arrays: RunArrays) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield what is compared, and the paired rows of a method, and of the control or of MP, in `arrays`."""
    for method in by_network:
        places = by_network[method].dropna().to_numpy(int)
        controlled = places[arrays.controls[places] >= 0]
        if len(controlled):
            yield f"{method} minus {CONTROL}", controlled, arrays.controls[controlled]
        if method != BASELINE:
            pairs = by_network[[method, BASELINE]].dropna().to_numpy(int)
            yield f"{method} minus {BASELINE}", pairs[:, 0], pairs[:, 1]
