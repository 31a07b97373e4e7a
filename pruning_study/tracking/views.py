"""Named views of an experiment, which show its results in MLflow's UI, and the experiment's description.

MLflow keeps a named view as a tag of the experiment, and opens the view whose key is in the address.
"""

import base64
import json
import logging
import time
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from analysis.runs import schema
from analysis.runs.address import without_password
from analysis.runs.store_errors import STORE_ERRORS, reason
from pruning_study.tracking.store import Store

TAG = "mlflow.sharedViewState."
DESCRIPTION = (
    "Pruned networks: their accuracy, and what their classes lost. [Charts of accuracy and losses]({charts})\n\n"
    "Runs of kind `dense`, `pruned`, `quantized` and `compressed` are measurements of networks. A run of kind `job` or "
    "`study` is a call of a command, and a run of kind `tuning` is a search. The runs that they made are below them, "
    "except dense runs, which several calls may use.\n\n"
    "The menu *Views* has the results: *Networks by pruner and ratio*, *Accuracy and losses*, whose charts the link "
    "above opens, and *Searches*. In the first two, each row is a group of networks, with means over seeds and over "
    "all settings that are not part of the group, such as epochs: filter by a param to separate them. The column "
    "`network` shows whether a network is dense, pruned or a control, which is fine-tuned but not pruned. Losses are "
    "shares, and compare a network with the dense network that it replaces: `worst_class_loss` is the loss of recall "
    "of `worst_class`, which lost most; `worst_class_loss_upper` is the largest upper bound of a class's loss, and "
    "`accuracy_loss_upper` that of the accuracy, each with 95 % confidence. `outcome` says which classes are shown to "
    "be worse. `alpha` and `raw_slope` are above 1 if the differences between classes grew: for `alpha` relative to "
    "the accuracy, for `raw_slope` in points.\n\n"
    "`pruning-analysis report` compares the methods with intervals and tests."
)
_TASK = (schema.DATASET, schema.MODEL)  # means over several data sets or models are meaningless
_HOW = (schema.SCHEDULE, schema.CLASS_OFFSETS)
_LOSSES = (schema.WORST_CLASS_LOSS, schema.WORST_CLASS_LOSS_UPPER, schema.ACCURACY_LOSS_UPPER)
_COMPARED = (schema.TEST_ACCURACY, *_LOSSES, schema.ALPHA, schema.RAW_SLOPE)


class View(NamedTuple):
    """A named view of an experiment.

    Attributes
    ----------
    key, name : str
        The key is in the address, the name in MLflow's menu *Views*.
    state : mapping
        The fields of MLflow's page that differ from its defaults.
    mode : {"TABLE", "CHART"}
        Whether the page opens as a table or as charts.
    """

    key: str
    name: str
    state: Mapping[str, Any]
    mode: str = "TABLE"

    def page(self, experiment_id: str) -> str:
        """Return the part of the view's address that follows the address of MLflow's server."""
        return f"#/experiments/{experiment_id}/runs?workflowType=machine_learning{self.query}"

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
        packed = base64.b64encode(zlib.compress(json.dumps({**_DEFAULTS, **self.state}).encode(), 9)).decode()
        return TAG + self.key, json.dumps({"name": self.name, "createdAt": created, "state": f"deflate;{packed}"})


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
    try:
        tags = store.client.get_experiment(store.experiment_id).tags
        wanted = dict(view.tag(int(1000 * time.time())) for view in VIEWS) | {
            MLFLOW_RUN_NOTE: DESCRIPTION.format(charts=ACCURACY_AND_LOSSES.page(store.experiment_id))
        }
        for key, value in wanted.items():
            if key not in tags:
                store.client.set_experiment_tag(store.experiment_id, key, value)
        store.view = opening.query
    except STORE_ERRORS as error:
        shown = without_password(store.uri)
        log.warning("%s: not all views were written (%s); the runs are not affected", shown, reason(error))


def _column(kind: str, name: str) -> str:
    return f"{kind}.`{name}`"


def _table(columns: Mapping[str, int], *, order: str, ascending: bool, name_width: int = 130) -> dict[str, Any]:
    """Return the fields of a table: these columns with their widths in pixels, and those that MLflow always shows."""
    widths = {_RUN_NAME: name_width, _CREATED: 35, **columns}
    return {
        "selectedColumns": list(columns),
        "columnOrder": list(widths),
        "columnWidths": widths,
        "orderByKey": order,
        "orderByAsc": ascending,
    }


def _groups(params: Sequence[str], *tags: str) -> dict[str, Any]:
    keys = [{"mode": "param", "groupByData": name} for name in params]
    keys += [{"mode": "tag", "groupByData": name} for name in tags]
    return {"groupBy": {"aggregateFunction": "average", "groupByKeys": keys}}


def _chart(index: int, kind: str, **fields: Any) -> dict[str, Any]:
    return {
        "uuid": f"chart-{index}",
        "type": kind,
        "runsCountToCompare": 100,
        "metricSectionId": "compared",
        "deleted": False,
        "isGenerated": False,
        **fields,
    }


def _section(key: str, name: str, *, display: bool) -> dict[str, Any]:
    shown = {"display": display, "isReordered": True, "deleted": False, "isGenerated": False}
    return {"uuid": key, "name": name, **shown, "columns": 2, "cardHeight": 340}


def _axes(x: str, y: str) -> dict[str, Any]:
    return {"xaxis": {"key": x, "type": "METRIC"}, "yaxis": {"key": y, "type": "METRIC"}}


# The names of columns that MLflow always shows, on the left
_RUN_NAME, _CREATED = "attributes.`Run Name`", "runDateAndNestInfo"
_DEFAULTS = {
    "searchFilter": "",
    "startTime": "ALL",
    "lifecycleFilter": "Active",
    "datasetsFilter": [],
    "modelVersionFilter": "All Runs",
    "runsHiddenMode": "SHOW_ALL",
}
_PRUNED = f"tags.{schema.KIND} = '{schema.PRUNED}'"
# Dense and pruned networks, including controls. The filter excludes all other kinds, because MLflow's filters have no
# `or`.
_NETWORKS = " and ".join(
    f"tags.{schema.KIND} != '{kind}'"
    for kind in (
        schema.JOB,
        schema.STUDY,
        schema.TUNING,
        schema.TRIAL,
        schema.REPORT,
        schema.QUANTIZED,
        schema.COMPRESSED,
    )
)
_BY_ACCURACY = _column("metrics", schema.TEST_ACCURACY)
BY_PRUNER_AND_RATIO = View(
    "networks",
    "Networks by pruner and ratio",
    {
        "searchFilter": _NETWORKS,
        **_groups((*_TASK, schema.PRUNER, schema.RATIO, *_HOW), schema.NETWORK),
        # In a window of 1,600 pixels all columns up to the outcome are in sight, even beside MLflow's assistant.
        **_table(
            {_column("params", schema.PRUNER): 60, _column("params", schema.RATIO): 45}
            | {_BY_ACCURACY: 70, _column("tags", schema.WORST_CLASS): 85}
            | {_column("metrics", name): 85 for name in _LOSSES}
            | {_column("tags", schema.OUTCOME): 170, _column("tags", schema.NETWORK): 75}
            | {_column("metrics", name): 85 for name in (schema.ALPHA, schema.RAW_SLOPE)}
            | {_column("params", name): 110 for name in (*_TASK, *_HOW, schema.SEED)},
            order=_BY_ACCURACY,
            ascending=False,
        ),
    },
)
# The list of runs beside charts is narrow, and shows little more of a group's name than the first param.
_IN_CHARTS = (schema.RATIO, schema.PRUNER, *_TASK, *_HOW)
ACCURACY_AND_LOSSES = View(
    "accuracy-and-losses",
    "Accuracy and losses",
    {
        "searchFilter": _PRUNED,
        "orderByKey": _BY_ACCURACY,
        "orderByAsc": False,
        **_groups(_IN_CHARTS),
        "isAccordionReordered": True,
        "compareRunSections": [
            _section("compared", "Accuracy and losses", display=True),
            _section("others", "Model metrics", display=False),
            *(_section(name, name, display=False) for name in ("recall", "support", "both_right")),
        ],
        "compareRunCharts": [
            _chart(1, "SCATTER", **_axes(schema.TEST_ACCURACY, schema.WORST_CLASS_LOSS)),
            *(_chart(2 + place, "BAR", metricKey=name) for place, name in enumerate(_COMPARED)),
            _chart(2 + len(_COMPARED), "SCATTER", **_axes(schema.TEST_ACCURACY, schema.ALPHA)),
        ],
    },
    mode="CHART",
)
# Searches by `tune` and `compress`, and their trials. The filter excludes compressed runs, because each of them would
# repeat the trial of its chain.
_TRIED = " and ".join(
    f"tags.{schema.KIND} != '{kind}'"
    for kind in (
        schema.JOB,
        schema.STUDY,
        schema.REPORT,
        schema.DENSE,
        schema.PRUNED,
        schema.QUANTIZED,
        schema.COMPRESSED,
    )
)
SEARCHES = View(
    "searches",
    "Searches",
    {
        "searchFilter": _TRIED,
        **_table(
            {_column("params", name): 120 for name in (schema.EPSILON, schema.RATIO, schema.NUMBER_FORMAT)}
            | {
                _column("metrics", name): 150
                for name in (
                    schema.VAL_ACCURACY,
                    schema.TRIAL_ACCURACY,
                    schema.TRIAL_DISTORTION,
                    schema.VAL_CLASS_LOSS_UPPER,
                    schema.MODEL_BYTES,
                )
            }
            | {_column("tags", name): 120 for name in (schema.KIND, schema.ANCHOR, schema.STATE)}
            | {_column("tags", schema.STUDY_NAME): 280},
            order=_column("metrics", schema.VAL_ACCURACY),
            ascending=False,
            name_width=400,
        ),
    },
)
VIEWS = (BY_PRUNER_AND_RATIO, ACCURACY_AND_LOSSES, SEARCHES)

log = logging.getLogger(__name__)
