"""Hashes that identify runs, and the artifacts that a complete run has."""

import hashlib
import json
from collections.abc import Mapping

from analysis.runs import schema

# Counts up where a step's results change for the same settings, so that older runs are not taken for them. Runs of
# before there were schedules lack two params and so have another hash: they are read as one-shot, and made again.
STEP_VERSIONS = {schema.DENSE: 1, schema.PRUNED: 1}
ARTIFACTS = (
    schema.CHECKPOINT,
    schema.PREDICTIONS,
    schema.VAL_PREDICTIONS,
    schema.PER_CLASS,
    schema.CONFUSION,
)
DENSE_ARTIFACTS = (*ARTIFACTS, schema.GRADIENT, schema.CONFUSION_PICTURE)
PRUNED_ARTIFACTS = (*ARTIFACTS, schema.MASK, schema.RECALL_PICTURE)


def dense_hash(params: Mapping[str, str]) -> str:
    """The config hash of a dense run with these params."""
    return _config_hash(schema.DENSE, params)


def pruned_hash(params: Mapping[str, str], dense_hash: str) -> str:
    """The config hash of a pruned run with these params, of the dense run with that hash."""
    return _config_hash(schema.PRUNED, params, upstream=dense_hash)


def _config_hash(kind: str, params: Mapping[str, str], upstream: str = "") -> str:
    content = {"kind": kind, "version": STEP_VERSIONS[kind], "upstream": upstream, "params": dict(params)}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
