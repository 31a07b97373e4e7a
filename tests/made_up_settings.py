"""Settings of runs as params, and runs that have them."""

from tests.made_up_runs import runs

ONE_SHOT = {"schedule": "one-shot"}
CUBIC = {"schedule": "cubic", "ramp": "0.5", "ramp_steps": "1", "regrow": "false"}
PLAIN = {"distill": "0.0"}
DISTILLED = {"distill": "0.5", "temperature": "2.0"}
TUNED = {"fine_tune_epochs": "3", "fine_tune_learning_rate": "0.01", "fine_tune_phases": "3x0.01"}
AS_PRUNED = {"fine_tune_epochs": "0"}
UNSPARED = {"class_offsets": "none", "class_weights": "none"}
OFFSETS = UNSPARED | {"class_offsets": "dense"}
WEIGHTED = UNSPARED | {"class_weights": "dense", "class_weight_power": "1.0"}


def toy(pruner, ratio, values, **params):
    return runs("toy", "net", pruner, ratio, values, **params)
