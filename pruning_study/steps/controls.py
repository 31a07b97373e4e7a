"""The control of a pruned network."""

from dataclasses import replace

from analysis.runs import schema
from pruning_study.steps.context import Context
from pruning_study.steps.plan import Pruning, plan_pruning
from pruning_study.tracking.store import ComparedRun, Store
from pruning_study.training.evaluation import Predictions


def retrains(pruning: Pruning) -> bool:
    """Return whether the trained network is trained further after pruning, which changes classes by itself."""
    return pruning.hyperparameters.epochs > 0 and not pruning.options.starts_anew


def has_control(pruning: Pruning) -> bool:
    """Return whether a pruned network can have a control, which is fine-tuned equally long without pruning."""
    return pruning.pruner.prunes and retrains(pruning)


def without_training(pruning: Pruning, dense: Predictions) -> list[Predictions]:
    """Return the dense network's predictions as those of its control if only pruning changed it; otherwise none."""
    return [dense] if pruning.pruner.prunes and not retrains(pruning) else []


def plan_control(pruning: Pruning, context: Context) -> Pruning:
    """Plan the run that `--pruner none` makes with the same options.

    Parameters
    ----------
    pruning : Pruning
        Plan of the pruned network, for which `has_control` is true.
    context : Context
    """
    return plan_pruning(replace(pruning.options, pruner=schema.CONTROL, ratio=(1.0,)), context)


def tag(store: Store, dense_run_id: str = "") -> None:
    """Tag the pruned and quantized runs of a dense run, or of the experiment, with their controls, unless they are.

    The control is the newest run of the pruner `none` with the same dense run and the same params, except those that
    concern pruning. If there is none with the mitigation of a run, its control has no mitigation.
    """
    runs, controls = store.compared_runs(dense_run_id), {}
    for run in runs:
        if run.tags[schema.KIND] == schema.PRUNED and run.params.get(schema.PRUNER) == schema.CONTROL:
            controls[_shared(run, "network", "mitigation")] = run.run_id
            if not any(run.params.get(name, "none") != "none" for name in schema.mitigations()):
                controls[_shared(run, "network")] = run.run_id
    own = {*controls.values()}
    for run in runs:
        if run.run_id in own or schema.CONTROL_RUN_ID in run.tags or schema.PRUNER not in run.params:
            continue
        keys = _shared(run, "network", "mitigation"), _shared(run, "network")
        if control := next((controls[key] for key in keys if key in controls), None):
            store.add_metrics(run.run_id, {}, {schema.CONTROL_RUN_ID: control})


def _shared(run: ComparedRun, *concerns: str) -> frozenset[tuple[str, str]]:
    """Return the dense run of a run, and its params that concern the given parts."""
    roles = {name: schema.role(name) for name in run.params}
    shared = [name for name, role in roles.items() if role.role != "consequence" and role.concerns in concerns]
    dense = schema.DENSE_RUN_ID, run.tags.get(schema.DENSE_RUN_ID, "")
    return frozenset([dense, *((name, run.params[name]) for name in shared)])
