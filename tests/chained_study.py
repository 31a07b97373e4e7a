"""A study whose runs form chains: a dense run, a run pruned from it, and a run pruned from that one."""

import sys
from dataclasses import replace

from analysis.runs import schema
from pruning_study.options.config import IterateConfig, StudyConfig
from pruning_study.study import plan, run
from pruning_study.study.plan import StudyPlan
from pruning_study.tracking.connect import connect
from tests.plans import planned


def chain(dataset: str, seeds: int) -> StudyPlan:
    config = IterateConfig(dataset=dataset, epochs=2, batch_size=32, iterations=3, keep=0.5)
    setting = planned(config)
    steps = [step for seed in range(seeds) for step in plan.chain_steps(replace(config, seed=seed), setting.plan)]
    return StudyPlan("chain", tuple(steps), {plan.source(config): setting.context.data})


def make(planned: StudyPlan, workers: int) -> dict[str, int]:
    """Make a study, and count its runs by their state."""
    store = connect()
    with store.job("study: chain", {}, schema.STUDY) as job:
        return run.make(store, job, planned, StudyConfig(workers=workers))["state"].value_counts().to_dict()


if __name__ == "__main__":
    make(chain(sys.argv[1], int(sys.argv[2])), workers=2)
