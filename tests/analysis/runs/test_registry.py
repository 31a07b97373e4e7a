"""Pruners, regularisers and models are known everywhere by their records alone."""

import subprocess
import sys

NEW_RECORDS = """
from analysis.runs import registry
registry.PRUNERS |= {
    "largest": registry.PrunerRecord("scores:magnitude", scope="layer", stands_for="a test", other_names=("big",))
}
registry.REGULARIZERS |= {"both": {"squared": 1.0, "decoupled": 0.25}}
registry.MODELS |= {"small": registry.ModelRecord("lenet:lenet5_half", "lottery")}

from analysis.common.errors import StudyError
from analysis.runs import schema
from pruning_study import models
from pruning_study.options.config import PruneConfig
from pruning_study.steps.plan import Settings, dense_training, recipe

options = PruneConfig(pruner="largest", regularizer="both", model="small")
print(options.pruner_record.score.__name__, Settings.of(options, dense_training(options)).scope, "largest" in schema.BY_LAYER)
print(*Settings.of(options, dense_training(options)).hyperparameters.regularizer)
print(models.factory("small").__name__, recipe(options))
try:
    PruneConfig(pruner="big")
except StudyError as error:
    print(error)
"""


def test_a_record_makes_a_name_that_options_take_and_that_the_analysis_knows():
    """Modules read the records when they are imported, so a new Python has more of them."""
    said = subprocess.run([sys.executable, "-c", NEW_RECORDS], capture_output=True, text=True, check=True).stdout
    assert said.splitlines() == [
        "magnitude layer True",
        "1.0 0.0 0.25",
        "lenet5_half lottery",
        "'big' is not a pruner: did you mean largest (a test)?",
    ]
