"""`compress` from end to end: what it delivers, what is found again, and what is refused."""

import doctest
import sys
from pathlib import Path

import click.testing
import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from mlflow import MlflowClient

import pruning_study
from pruning_study.__main__ import cli
from pruning_study.models import onnx_export
from pruning_study.steps import class_changes  # noqa: F401
from pruning_study.steps import pruned as pruned_step
from pruning_study.study.compression import report
from pruning_study.study.compression.chains import Chain
from pruning_study.study.compression.judgement import Limits, Sides
from tests.pruning_study.steps.test_logged_model import scored
from tests.stored_runs import artifact, leave_pictures_blank, runs

QUICK = {"epochs": 8, "fine_tune_epochs": 1, "batch_size": 16, "validation_fraction": 0.4}
LOOSE = {"max_class_loss": 99, "max_accuracy_loss": 90}
needs_extras = [pytest.mark.onnx, pytest.mark.structured]


def called(dataset, **options):
    given = {"dataset": dataset, **QUICK, **LOOSE, "n_trials": 4} | options
    typed = [part for name, value in given.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    return click.testing.CliRunner().invoke(cli, ["compress", *typed])


@pytest.fixture
def refused(tiny_npz, store_uri):
    def run(**options):
        result = called(tiny_npz, **options)
        assert result.exit_code != 0, result.output
        (line,) = [line for line in result.output.splitlines() if line.startswith("Error: ")]
        return line

    return run
