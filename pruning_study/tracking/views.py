"""Named views of an experiment, which show its results in MLflow's UI, and the experiment's description.

MLflow keeps a named view as a tag of the experiment, and opens the view whose key is in the address. The file
`views.json` has the views as MLflow's page writes them: of each, the fields that differ from the page's defaults.
"""

import base64
import json
import logging
import time
import zlib
from pathlib import Path
from typing import Any, NamedTuple

from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from analysis.runs.address import without_password
from analysis.runs.store_errors import STORE_ERRORS, reason
from pruning_study.tracking.store import Store

log = logging.getLogger(__name__)

TAG = "mlflow.sharedViewState."


class View(NamedTuple):
    """A named view of an experiment.

    Attributes
    ----------
    key, name : str
        The key is in the address, the name in MLflow's menu *Views*.
    mode : {"TABLE", "CHART"}
        Whether the page opens as a table or as charts.
    state : dict
        The fields of MLflow's page that differ from those of all views.
    """

    key: str
    name: str
    mode: str
    state: dict[str, Any]

    @property
    def query(self) -> str:
        """The part of the view's address that follows the address of the experiment's runs."""
        mode = f"&compareRunsMode={self.mode}" if self.mode != "TABLE" else ""
        return f"&viewStateShareKey={self.key}{mode}"

    def tag(self, created: int) -> tuple[str, str]:
        """Return the key and the value of the experiment's tag that holds the view.

        Parameters
        ----------
        created : int
            Milliseconds since 1970.
        """
        packed = base64.b64encode(zlib.compress(json.dumps(_DATA["defaults"] | self.state).encode(), 9)).decode()
        return TAG + self.key, json.dumps({"name": self.name, "createdAt": created, "state": f"deflate;{packed}"})


_DATA = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
VIEWS = BY_PRUNER_AND_RATIO, ACCURACY_AND_LOSSES, SEARCHES = tuple(View(**view) for view in _DATA["views"])


def write(store: Store, opening: View) -> None:
    """Write the views and the description that an experiment lacks, and make `Store.how_to_look` name one view.

    Existing views and an existing description stay as they are, since a user may have changed them. If the store does
    not accept a tag, a warning is logged.

    Parameters
    ----------
    store : Store
    opening : View
        The view that the address in `Store.how_to_look` opens.
    """
    charts = f"#{store.page}{ACCURACY_AND_LOSSES.query}"
    try:
        tags = store.client.get_experiment(store.experiment_id).tags
        wanted = dict(view.tag(int(1000 * time.time())) for view in VIEWS)
        wanted[MLFLOW_RUN_NOTE] = "\n\n".join(_DATA["description"]).format(charts=charts)
        for key in wanted.keys() - tags.keys():
            store.client.set_experiment_tag(store.experiment_id, key, wanted[key])
        store.view = opening.query
    except STORE_ERRORS as error:
        shown = without_password(store.uri)
        log.warning("%s: not all views were written (%s); the runs are not affected", shown, reason(error))
