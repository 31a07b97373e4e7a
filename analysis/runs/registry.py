"""Pruners, regularisers and models: one record each, by the name that an option accepts and that runs log.

The functions that compute with tensors are in `pruning_study`; the records name them.
"""

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple


class PrunerRecord(NamedTuple):
    """A way to choose the weights that are kept. See `pruning_study.pruning.pruners.Pruner` for most fields.

    Attributes
    ----------
    score, choose : str
        Functions in `pruning_study.pruning`, written `module:function`.
    scope : {"global", "layer"}
    unit : {"weight", "channel", "filter"}
    ordinal, prunes : bool
    spares_groups : bool
        Whether the pruner aims to harm no group of images.
    stands_for : str
        Long form of a short name.
    other_names : tuple of str
        Names of the pruner in other software.
    """

    score: str
    scope: str = "global"
    unit: str = "weight"
    choose: str = "masks:exact_k"
    ordinal: bool = False
    prunes: bool = True
    spares_groups: bool = False
    stands_for: str = ""
    other_names: tuple[str, ...] = ()


class ModelRecord(NamedTuple):
    """A network of this project.

    Attributes
    ----------
    factory : str
        The function in `pruning_study.models` that makes the network, written `module:function`.
    recipe : str
        Recipe that trains the network by default: a name in `recipes.RECIPES`.
    """

    factory: str
    recipe: str = "lenet5"


_of_layer = partial(PrunerRecord, scope="layer")
_of_channels = partial(_of_layer, unit="channel", choose="structured:largest_channels")

PRUNERS: dict[str, PrunerRecord] = {
    "mp": PrunerRecord("scores:magnitude", stands_for="magnitude pruning", other_names=("magnitude", "l1")),
    "gp": PrunerRecord("scores:gradient", stands_for="gradient pruning", other_names=("gradient", "taylor")),
    "up": PrunerRecord("scores:undecayed", stands_for="undecayed pruning", other_names=("undecayed",)),
    "rp": PrunerRecord("scores:random", stands_for="random pruning", other_names=("random",)),
    "up-signed": PrunerRecord("scores:undecayed_signed", choose="masks:signed_quantile"),
    "up-sum": PrunerRecord("scores:undecayed_sum"),
    "l1-unstructured": _of_layer("scores:magnitude"),
    "random-unstructured": _of_layer("scores:random"),
    "global-unstructured": PrunerRecord("scores:magnitude"),
    "l1-structured": _of_channels("structured:l1_norm"),
    "l2-structured": _of_channels("structured:l2_norm"),
    "linf-structured": _of_channels("structured:linf_norm"),
    "random-structured": _of_channels("structured:random_channel"),
    "fairgrape": _of_layer("fairgrape:keeping_shares", ordinal=True, spares_groups=True),
    "chip": _of_layer("channels:independence", unit="filter"),
    "l1-filter": _of_layer("structured:filter_l1_norm", unit="filter"),
    "none": PrunerRecord("scores:unpruned", prunes=False),
}
# Fields of `pruning_study.training.optimizer.Regularizer`; `elastic` is half of `l2` plus half of `l1`.
REGULARIZERS: dict[str, Mapping[str, float]] = {
    "l2": {"squared": 1.0},
    "l1": {"absolute": 1.0},
    "elastic": {"squared": 0.5, "absolute": 0.5},
    "decoupled": {"decoupled": 1.0},
}
MODELS: dict[str, ModelRecord] = {
    "lenet5": ModelRecord("lenet:lenet5"),
    "lenet5-half": ModelRecord("lenet:lenet5_half"),
    "lenet5-double": ModelRecord("lenet:lenet5_double"),
    "lenet-300-100": ModelRecord("lenet:lenet_300_100"),
    **{f"resnet{depth}": ModelRecord(f"resnet:resnet{depth}", "resnet-cifar") for depth in (20, 32, 44, 56, 110)},
    "wrn16-4": ModelRecord("wide_resnet:wrn16_4", "wide-resnet"),
    "wrn22-8": ModelRecord("wide_resnet:wrn22_8", "wide-resnet"),
    "wrn28-10": ModelRecord("wide_resnet:wrn28_10", "wide-resnet"),
    "alexnet": ModelRecord("small_images:alexnet"),
    "vgg11": ModelRecord("small_images:vgg11"),
    "resnet18": ModelRecord("small_images:resnet18", "resnet-cifar"),
}
