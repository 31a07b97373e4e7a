"""The recall of each network's weakest class, and the mean of these recalls over the networks of each cell."""

import numpy as np
import pandas as pd
from scipy import stats

from analysis.runs.frames import RUN_ID
from analysis.statistics.hypothesis_tests import LEVEL
from analysis.study import arrays
from analysis.study.joins import join
from analysis.study.study import StudyData

WEAKEST_BEFORE, WEAKEST = "weakest_before", "weakest_after"


def with_weakest(study: StudyData) -> pd.DataFrame:
    """Return the cells of a study with the mean recall of the weakest class, and the interval of the accuracy.

    The weakest class may differ between networks. Noise of the recalls biases the mean of these smallest recalls
    downward, in the control too.

    Returns
    -------
    DataFrame
        `study.cells` with these further columns:

        - accuracy_low, accuracy_high: the 95 % interval of accuracy_after;
        - weakest_before, weakest_after, weakest_low, weakest_high: the mean recall of the weakest class of the dense
          and of the pruned networks, the latter with its 95 % interval;
        - weakest_class, weakest_count: the class that is most often the weakest of a pruned network, and the number of
          networks in which it is the weakest.
    """
    names, before, after = arrays.recalls(study.runs)
    networks = pd.DataFrame(
        {
            RUN_ID: study.runs[RUN_ID].to_numpy(),
            WEAKEST_BEFORE: np.nanmin(before, axis=1),
            WEAKEST: np.nanmin(after, axis=1),
            "class": np.array(names, dtype=object)[np.nanargmin(after, axis=1)],
        }
    )
    cell = study.cell_key
    by_cell = study.alphas.merge(networks, on=RUN_ID).groupby(cell, dropna=False)
    mean, error = (getattr(by_cell[["accuracy_after", WEAKEST_BEFORE, WEAKEST]], name)() for name in ("mean", "sem"))
    half = error.mul(stats.t.isf(LEVEL / 2, by_cell.size() - 1), axis=0)
    # Ties go to the class that is first by name.
    often = by_cell["class"].agg(lambda names: names.mode().iloc[0])
    weakest_classes = mean[[WEAKEST_BEFORE, WEAKEST]].assign(
        accuracy_low=(mean - half)["accuracy_after"],
        accuracy_high=(mean + half)["accuracy_after"],
        weakest_low=(mean - half)[WEAKEST],
        weakest_high=(mean + half)[WEAKEST],
        weakest_class=often,
        weakest_count=by_cell["class"].agg(lambda names: (names == names.mode().iloc[0]).sum()),
    )
    return join(study.cells, weakest_classes.reset_index(), cell, how="left")
