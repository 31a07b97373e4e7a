"""A study whose runs form chains: a dense run, a run pruned from it, and a run pruned from that one."""

import sys
from dataclasses import replace

from analysis.runs import schema
from pruning_study.options.config import PruneConfig, StudyConfig
from pruning_study.study import plan, run
from pruning_study.study.plan import StudyPlan
from pruning_study.tracking.connect import connect
from tests.plans import planned

RATIOS = (2.0, 10.0)


def chain(dataset: str, seeds: int) -> StudyPlan:
    config = PruneConfig(dataset=dataset, epochs=2, fine_tune_epochs=1, batch_size=32, ratio=(1.0,))
    setting = planned(config)
    steps = []
    for seed in range(seeds):
        steps.append(plan.dense_step(replace(config, seed=seed), setting.plan.dense))
        for ratio in RATIOS:
            steps.append(plan.pruned_step(replace(config, seed=seed, ratio=(ratio,)), setting.plan, steps[-1]))
    return StudyPlan("chain", tuple(steps), {plan.source(config): setting.context.data})


def make(planned: StudyPlan, workers: int) -> dict[str, int]:
    store = connect()
    with store.job("study: chain", {}, schema.STUDY) as job:
        return dict(run.make(store, job, planned, StudyConfig(workers=workers)).counts)


if __name__ == "__main__":
    make(chain(sys.argv[1], int(sys.argv[2])), workers=2)
