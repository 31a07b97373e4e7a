"""The hash that identifies a run, and the artifacts of a complete run."""

import hashlib
import json
from collections.abc import Mapping

from analysis.runs import schema

# Raise a step's version when its results change for the same settings, so that older runs are not found.
STEP_VERSIONS = {schema.DENSE: 1, schema.PRUNED: 1, schema.QUANTIZED: 2, schema.COMPRESSED: 3}

_COMMON = (schema.PREDICTIONS, schema.VAL_PREDICTIONS, schema.PER_CLASS, schema.CONFUSION)
ARTIFACTS = {
    schema.DENSE: (*_COMMON, schema.CHECKPOINT, schema.GRADIENT, schema.CONFUSION_PICTURE),
    schema.PRUNED: (*_COMMON, schema.CHECKPOINT, schema.MASK, schema.RECALL_PICTURE),
    schema.QUANTIZED: (*_COMMON, schema.ONNX_MODEL, schema.RECALL_PICTURE),
    schema.COMPRESSED: (schema.VAL_PREDICTIONS, schema.ONNX_MODEL),
}


def config_hash(kind: str, params: Mapping[str, str], parent_hash: str = "") -> str:
    """Return the hash by which a finished run with the same settings is found.

    It covers the params that differ from their defaults, as `hashed_params` returns them.

    Parameters
    ----------
    kind : {"dense", "pruned", "quantized", "compressed"}
    params : mapping of str
        Every resolved setting that can change the result, as canonical text.
    parent_hash : str
        Hash of the run that this one starts from; empty for a dense run.

    Returns
    -------
    str, 64 hexadecimal digits
    """
    content = {
        "kind": kind,
        "version": STEP_VERSIONS[kind],
        "upstream": parent_hash,
        "params": hashed_params(params),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def hashed_params(params: Mapping[str, str]) -> dict[str, str]:
    """Return the params that enter a hash: those that differ from `schema.DEFAULTS`.

    A new option therefore leaves the hashes of earlier runs alone. Params in `schema.NEVER_HASHED` are left out.
    """
    return {
        name: value
        for name, value in params.items()
        if name not in schema.NEVER_HASHED and value != schema.DEFAULTS.get(name)
    }
