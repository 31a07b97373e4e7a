"""A study whose runs form chains: a dense run, a run pruned from it, and a run pruned from that one."""

import sys
from dataclasses import replace

from analysis.runs import schema
from pruning_study.options.config import PruneConfig, StudyConfig
from pruning_study.steps.settings import PruneSetting
from pruning_study.study import plan, run
from pruning_study.study.plan import Plan
from pruning_study.tracking.connect import connect

RATIOS = (2.0, 10.0)


def chain(dataset: str, seeds: int) -> Plan:
    config = PruneConfig(dataset=dataset, epochs=2, fine_tune_epochs=1, batch_size=32, ratio=(1.0,))
    setting = PruneSetting(config)
    steps = []
    for seed in range(seeds):
        steps.append(plan.dense_step(replace(config, seed=seed), setting))
        for ratio in RATIOS:
            steps.append(plan.pruned_step(replace(config, seed=seed, ratio=(ratio,)), setting, steps[-1]))
    return Plan("chain", tuple(steps), {plan.source(config): setting.data})


def make(planned: Plan, workers: int) -> dict[str, int]:
    store = connect()
    with store.job("study: chain", {}, schema.STUDY) as job:
        return dict(run.make(store, job, planned, StudyConfig(workers=workers)).counts)


if __name__ == "__main__":
    make(chain(sys.argv[1], int(sys.argv[2])), workers=2)
