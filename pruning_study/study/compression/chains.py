"""Chains of steps that make a network smaller, and the space of chains that a search chooses from."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from itertools import product
from typing import Any

from optuna import Trial

from analysis.runs import schema
from analysis.runs.chain_searches import FILTERS, FORMATS, NOTHING, WEIGHTS
from analysis.runs.schema import text
from pruning_study.options.config import CUBIC, ONE_SHOT
from pruning_study.pruning.pruners import own_unit
from pruning_study.study.shared_search import SearchSpace

# Below the first ratio, magnitude pruning hardly ever removes a whole channel or unit of a linear layer; above the
# second, small networks are at chance.
WEIGHT_RATIOS = (2.0, 50.0)
LEAST_FILTER_RATIO = 1.1
# Names of the chains that a search begins with; the last two only if filters can be removed
DENSE, INTEGERS, HALVED, BOTH = "the network as it is", "int8 alone", "half the channels", "both"
_FILTER_RATIO, _WEIGHT_RATIO = "filter_ratio", "weight_ratio"  # names in Optuna


@dataclass(frozen=True)
class Chain:
    """Steps from a trained network to a smaller one.

    Parameters
    ----------
    pruner : str
        `none` prunes nothing. Such a chain does not fine-tune either.
    ratio : float
    schedule : {"one-shot", "cubic"}
    fine_tune_epochs : int
    class_offsets : {"none", "dense"}
    number_format : {"float32", "float16", "dynamic-int8", "fixed-int8"}
    """

    pruner: str = NOTHING
    ratio: float = 1.0
    schedule: str = ONE_SHOT
    fine_tune_epochs: int = 0
    class_offsets: str = "none"
    number_format: str = schema.FLOAT32

    @property
    def prunes(self) -> bool:
        return self.pruner != NOTHING

    @property
    def options(self) -> dict[str, Any]:
        """The options of `prune` that make the pruned network."""
        named = {name: value for name, value in asdict(self).items() if name != schema.NUMBER_FORMAT}
        return named | {schema.RATIO: (self.ratio,)}

    @property
    def params(self) -> dict[str, str]:
        """The fields as canonical text."""
        return {name: text(value) for name, value in asdict(self).items()}

    def __str__(self) -> str:
        """Describe the steps: `filters pruned by l1-filter at ratio 1.97, 15 epochs, class offsets, fixed-int8`."""
        if not self.prunes:
            return f"not pruned, {self.number_format}"
        unit = "filters" if own_unit(self.pruner) == "filter" else "weights"
        schedule = [] if self.schedule == ONE_SHOT else [self.schedule]
        offsets = [] if self.class_offsets == "none" else ["class offsets"]
        pruned = f"{unit} pruned by {self.pruner} at ratio {self.ratio:g}"
        epochs = "1 epoch" if self.fine_tune_epochs == 1 else f"{self.fine_tune_epochs} epochs"
        return ", ".join([pruned, *schedule, epochs, *offsets, self.number_format])


def chain_of(row: Mapping[str, Any]) -> Chain:
    """Return the chain with the fields of a table row."""
    return Chain(**{item.name: row[item.name] for item in fields(Chain)})


@dataclass(frozen=True)
class ChainSpace(SearchSpace):
    """The chains that a search chooses from.

    Parameters
    ----------
    minimize : {"size", "latency", "macs"}
    epochs : tuple of int
        Numbers of fine-tuning epochs, the largest last.
    half_ratio, most_filters : float
        Ratio at which half of the filters are left, and largest ratio at which every layer has a filter left. Both are
        0 if no filter can be removed.
    most_weights : float
        Largest ratio of magnitude pruning; 0 if it is not tried.
    gradual : bool
        Whether the schedule `cubic` is tried.
    offsets : bool
        Whether class offsets are tried.
    settings : mapping of str
        Params that all chains share.
    """

    minimize: str
    epochs: tuple[int, ...]
    half_ratio: float = 0.0
    most_filters: float = 0.0
    most_weights: float = 0.0
    gradual: bool = False
    offsets: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def goal(self) -> str:
        """The quantity to minimise."""
        return self.minimize

    @property
    def pruners(self) -> tuple[str, ...]:
        """The values that a chain's pruner can have."""
        filters = FILTERS if self.most_filters else ()
        return (NOTHING, *filters, *((WEIGHTS,) if self.most_weights else ()))

    @cached_property
    def first(self) -> dict[str, dict[str, Any]]:
        """The chains that a search begins with, as Optuna's params, by name."""
        as_it_is: dict[str, Any] = {schema.PRUNER: NOTHING, schema.NUMBER_FORMAT: schema.FLOAT32}
        integers = {schema.NUMBER_FORMAT: schema.FIXED_INT8}
        chains = {DENSE: as_it_is, INTEGERS: as_it_is | integers}
        if self.most_filters:
            halved = {
                schema.PRUNER: FILTERS[0],
                _FILTER_RATIO: self.half_ratio,
                schema.FINE_TUNE_EPOCHS: self.epochs[-1],
                schema.CLASS_OFFSETS: "none",
                schema.NUMBER_FORMAT: schema.FLOAT32,
            }
            chains |= {HALVED: halved, BOTH: halved | integers}
        return chains

    def suggest(self, trial: Trial) -> None:
        """Have Optuna choose a chain; the pruner that it chooses determines which further params it chooses."""
        pruner = trial.suggest_categorical(schema.PRUNER, self.pruners)
        for name, (least, most) in self._ratios(pruner).items():
            trial.suggest_float(name, least, most, log=True)
        for name, values in self._values(pruner).items():
            trial.suggest_categorical(name, values)

    def every(self) -> Iterator[dict[str, Any]]:
        """Yield every chain as Optuna's params, those without pruning first. Ratios have two decimals."""
        for pruner in self.pruners:
            ratios = {
                name: [number / 100 for number in range(round(100 * least), math.floor(100 * most + 1e-6) + 1)]
                for name, (least, most) in self._ratios(pruner).items()
            }
            choices = {schema.PRUNER: (pruner,), **ratios, **self._values(pruner)}
            for chosen in product(*choices.values()):
                yield dict(zip(choices, chosen, strict=True))

    def _ratios(self, pruner: str) -> dict[str, tuple[float, float]]:
        """Return the bounds of a pruner's ratio, by the ratio's name in Optuna; empty if the pruner has no ratio."""
        if pruner in FILTERS:
            return {_FILTER_RATIO: (LEAST_FILTER_RATIO, self.most_filters)}
        return {_WEIGHT_RATIO: (WEIGHT_RATIOS[0], self.most_weights)} if pruner == WEIGHTS else {}

    def _values(self, pruner: str) -> dict[str, Sequence[Any]]:
        """Return the possible values of each param that is chosen besides the pruner and its ratio."""
        values: dict[str, Sequence[Any]] = {}
        if pruner == WEIGHTS and self.gradual:
            values[schema.SCHEDULE] = (ONE_SHOT, CUBIC)
        if pruner != NOTHING:
            values[schema.FINE_TUNE_EPOCHS] = self.epochs
            values[schema.CLASS_OFFSETS] = ("none", "dense") if self.offsets else ("none",)
        return values | {schema.NUMBER_FORMAT: FORMATS}

    def chain(self, chosen: Mapping[str, Any]) -> Chain:
        """Return the chain that Optuna's params describe; its ratio is rounded to two decimals."""
        pruner = chosen[schema.PRUNER]
        if pruner == NOTHING:
            return Chain(number_format=chosen[schema.NUMBER_FORMAT])
        return Chain(
            pruner=pruner,
            ratio=round(chosen[_FILTER_RATIO if pruner in FILTERS else _WEIGHT_RATIO], 2),
            schedule=chosen.get(schema.SCHEDULE, ONE_SHOT),
            fine_tune_epochs=chosen[schema.FINE_TUNE_EPOCHS],
            class_offsets=chosen[schema.CLASS_OFFSETS],
            number_format=chosen[schema.NUMBER_FORMAT],
        )

    @property
    def params(self) -> dict[str, str]:
        """The whole space as canonical text."""
        own = {name: value for name, value in asdict(self).items() if name != "settings"}
        searched = {"pruners": self.pruners, "formats": FORMATS, "losses_since": schema.DENSE} | own
        return {**self.settings, **{name: text(value) for name, value in searched.items()}}
