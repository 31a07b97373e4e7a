"""The command `export`: write a run's network as a file, log it as an MLflow model, or both."""

from collections.abc import Mapping
from pathlib import Path

from analysis.common import files
from analysis.runs import schema
from pruning_study.models import onnx_export
from pruning_study.options.config import ExportConfig
from pruning_study.steps import logged_model, runs, shrunk
from pruning_study.steps.followed import Follower, finished_run
from pruning_study.tracking.connect import connect


def export(config: ExportConfig, run_id: str, options: Mapping[str, str]) -> str:
    """Export the network of a run in a job of its own, and return the lines to print.

    Parameters
    ----------
    config : ExportConfig
    run_id : str
        A dense, pruned or quantized run. The network of a quantized run is exported as stored, and cannot be shrunk.
    options : mapping of str
        The options as typed, for the job's params.

    Raises
    ------
    StudyError
        If the run, its data or its network cannot be used, or if the file cannot be written.
    """
    files.check_file(config.output, [Path(config.dataset)], "images")
    onnx_export.check_installed()
    shrunk.check_installed(config)
    store = connect(config.experiment)
    run = finished_run(store, run_id, schema.KINDS[:2] if config.shrink else schema.KINDS)
    plan, context = Follower(store, config.training).follow(run)
    runs.check_fits(run, plan, context.data)
    model_name = plan.options.model
    with store.job(f"export: {run.info.run_name or run_id}", options) as job:
        if config.shrink:
            result = shrunk.shrunk(store, model_name, context, run)
            model = logged_model.exported(result.smaller, context)
            zeroed, remaining = result.zeroed_channels, result.remaining_channels
            how_to_load = [f"zeroed channels: {zeroed:,}, of which {remaining:,} could not be removed"]
        else:
            model = logged_model.onnx_model(store, model_name, context, run)
            logged = logged_model.logged(store, context, run, model)
            job.note(f"The network of run {run_id} is model {logged.model_id}.")
            served = f'mlflow models serve --env-manager local --model-uri "models:/{logged.model_id}"'
            how_to_load = [logged_model.loading_line(logged), f"a server:       {served}"]
        content = model.SerializeToString()
        if config.output:
            with files.one_aside(config.output) as file:
                file.write_bytes(content)
    shape = ", ".join(map(str, context.data.image_shape))
    return "\n".join(
        [
            "",
            *([f"{config.output}: {len(content):,} bytes"] if config.output else []),
            f"ONNX, operator set {onnx_export.opset(model)}: images (uint8 [N, {shape}], from 0 to 255) to logits",
            *how_to_load,
        ]
    )
