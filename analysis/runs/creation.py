"""Create a run exactly once, even if the store's answer is lost."""

import json
import time
import uuid
from collections.abc import Callable, Mapping
from functools import partial

from google.protobuf.json_format import ParseError
from mlflow import MlflowClient
from mlflow.entities import Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.protos.service_pb2 import CreateRun
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.mlflow_tags import MLFLOW_USER
from mlflow.utils.proto_json_utils import message_to_json, parse_dict
from mlflow.utils.rest_utils import http_request, verify_rest_response
from sqlalchemy.exc import SQLAlchemyError

from analysis.runs import schema

ATTEMPTS = 4
_PATH = "/api/2.0/mlflow/runs/create"
_TRY_LATER = (408, 429)  # and every status of 500 or more, which is a server error


def create_run(
    client: MlflowClient, once: Callable[..., Run], experiment_id: str, run_name: str | None, tags: Mapping[str, str]
) -> Run:
    """Create a run.

    If a request gets no clear answer, the run is looked up by its unique tag `creation_id`, and the request is repeated
    only if the run does not exist.

    Parameters
    ----------
    client : MlflowClient
        A client that retries reads.
    once : callable
        The method `create_run` of MLflow's own client, for stores without a server.
    experiment_id : str
    run_name : str or None
    tags : mapping of str

    Returns
    -------
    Run

    Raises
    ------
    MlflowException, SQLAlchemyError
        The store's own error, if it refuses the run or if every request fails.
    """
    creation_id = uuid.uuid4().hex
    tags = {**tags, schema.CREATION_ID: creation_id}
    if client.tracking_uri.startswith(("http:", "https:")):
        once = partial(_sent_once, client.tracking_uri)
    failure: Exception
    # An SQLite file needs no second attempt: after an error the run certainly does not exist, and SQLite has already
    # waited for locks.
    for attempt in range(1 if client.tracking_uri.startswith("sqlite") else ATTEMPTS):
        run = None
        try:
            run = once(experiment_id, run_name=run_name, tags=tags)
            if attempt == 0:
                return run
        except (MlflowException, SQLAlchemyError) as error:
            if not _is_in_doubt(error):
                raise
            failure = error
        if existing_run := _first(client, experiment_id, creation_id) or run:
            return existing_run
    raise failure


def _sent_once(uri: str, experiment_id: str, *, run_name: str | None, tags: Mapping[str, str]) -> Run:
    """Create a run on a server by a single request, because MLflow's client would repeat it if unanswered."""
    request = CreateRun(
        experiment_id=experiment_id,
        user_id=tags.get(MLFLOW_USER, "unknown"),
        start_time=int(time.time() * 1000),
        run_name=run_name,
        tags=[RunTag(key, value).to_proto() for key, value in tags.items()],
    )
    answer = http_request(
        get_default_host_creds(uri),
        _PATH,
        "POST",
        json=json.loads(message_to_json(request)),
        max_retries=0,
        raise_on_status=False,
    )
    response = CreateRun.Response()
    try:
        parse_dict(verify_rest_response(answer, _PATH).json(), response)
    except ParseError as error:
        raise MlflowException(f"the server's answer to a request to create a run has no run ({error})") from error
    if not response.run.info.run_id:
        raise MlflowException("the server's answer to a request to create a run has no run id")
    return Run.from_proto(response.run)


def _is_in_doubt(error: Exception) -> bool:
    """Return whether the store may have created the run despite the error, or may do so if asked again."""
    if not isinstance(error, MlflowException):
        return True
    status = error.get_http_status_code()
    return status >= 500 or status in _TRY_LATER


def _first(client: MlflowClient, experiment_id: str, creation_id: str) -> Run | None:
    """Return the first run with the creation id, and delete others that delayed requests created."""
    query = f"tags.{schema.CREATION_ID} = '{creation_id}'"
    answer = client.search_runs([experiment_id], query, order_by=["attributes.start_time ASC"])
    runs = [run for run in answer if run.data.tags.get(schema.CREATION_ID) == creation_id]
    for surplus in runs[1:]:
        client.set_terminated(surplus.info.run_id, "KILLED")
        client.delete_run(surplus.info.run_id)
    return runs[0] if runs else None
