"""What a pruning will do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class PrunePlan:
    """What a pruned run will be, worked out once before it is made.

    Parameters
    ----------
    ratio : float
        Parameters of the dense network / parameters that are left.
    kept_numbers : mapping of int to int or sequence of int
        Batch of the training that follows or accompanies pruning, -> number of prunable weights kept from it on, in all
        layers together or in each layer. The last number is final.
    steps : mapping of str to int
        With `--start initialization`, `begin` and `end`, the first and the last batch at which weights are pruned, and
        `frequency`, the batches from one to the next; else empty.
    params : mapping of str
        Every resolved setting that can change the pruned network, as canonical text.
    name : str
        The run's name.
    hash : str
        The run's `config_hash`.
    """

    ratio: float
    kept_numbers: Mapping[int, int | Sequence[int]]
    steps: Mapping[str, int]
    params: Mapping[str, str]
    name: str
    hash: str
