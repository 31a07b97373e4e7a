"""Published values of the three papers, and the papers' names for data sets, models and pruners.

Errors in print of the recall distortion paper:

- Table 11, CIFAR-100: the variance of recall, .0004, is below the sampling variance, .67 x .33 / 100 = .0022.
- Table 11, MNIST: the variance of recall, .0038, is far above what an accuracy of 98.9 % allows.
- Table 10: the accuracies before pruning differ by pruner, so the pruners did not all share their dense networks,
  although the tests are paired.

Errors in print of the compressed networks paper:

- CIFAR-10: the dense accuracy is 94.53 in Table 5, 94.35 in Section 2.4 and 94.89 in Table 6.
- Table 2: a sparsity of .5 and dynamic range int8 have the same number of PIEs, 2,193.
- Table 6: the accuracy on CelebA is the same with and without its PIEs.
"""

import re
from collections.abc import Collection
from importlib import resources

import pandas as pd

# Logged name -> printed name, in the papers' order; models by parameter count. Two models that are not in print keep
# their logged names.
LABELS = {
    "mnist": "MNIST",
    "fashion-mnist": "Fashion",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "lenet5-half": "lenet5-half",
    "lenet5": "LeNet",
    "lenet5-double": "lenet5-double",
    "resnet20": "ResNet-20",
    "resnet32": "ResNet-32",
    "resnet44": "ResNet-44",
    "resnet56": "ResNet-56",
    "resnet110": "ResNet-110",
    "mp": "MP",
    "gp": "GP",
    "up": "UP",
    "rp": "RP",
    "lth": "LTH",
    "chip": "CHIP",
}
_COPY_OF = {"cifar10-jpeg": "cifar10"}
_ORDER = {printed: place for place, printed in enumerate(LABELS.values())}


def table(number: int) -> pd.DataFrame:
    """Return a table of the recall distortion paper, as text (Good et al. 2022, Appendices A, D, F and H).

    Parameters
    ----------
    number : int, 1 to 13
        1-9 p-values, Bonferroni-corrected; 10 accuracy before pruning; 11 mean recall variance; 12 LTH; 13 CHIP.
    """
    return _csv(f"recall_distortion_table_{number:02}", dtype=str, keep_default_na=False)


def figures(name: str) -> pd.DataFrame:
    """Return a table of the other two papers, as numbers.

    Parameters
    ----------
    name : str
        For Hooker et al. 2019, `compressed_networks_` followed by `populations` (accuracies, significant classes and
        PIEs), `pie_accuracy`, `imagenet_c_top1`, `imagenet_c_top5` and their changes in percent
        (`imagenet_c_top1_norm`, `imagenet_c_top5_norm`), `imagenet_a`, `human_study`, `protocol` (text). For Paganini
        2020, `prune_responsibly_` followed by `ols` (the 40 legible of the regression's 50 terms; `lower` and `upper`
        are the ends of the printed interval), `summary` (of the regression, and the QMNIST case), `table_01` (accuracy
        on tilt, per series of writers), `protocol` (text).
    """
    return _csv(name)


def label(name: str) -> str:
    """Return the printed name of a data set, model or pruner, or the name itself if it is not in print."""
    return LABELS.get(name, name)


def original(name: str) -> str:
    """Return the printed name of a data set, or of its original if it is a copy (the JPEG copy of CIFAR-10)."""
    return label(_COPY_OF.get(name, name))


def standing_for_up(pruners: Collection[str]) -> str:
    """Return the pruner that is compared with the paper's UP: `up-signed` if a study has it and no `up`, else `up`."""
    return "up-signed" if "up-signed" in pruners and "up" not in pruners else "up"


def rank(name: str) -> tuple:
    """Return a sort key of data sets, models or pruners: the papers' order, then other names in natural order."""
    parts = re.split(r"(\d{1,18})", name)
    # Numbers are compared as text, by length and then digits, because Python refuses to convert over 4,300 digits.
    natural = [(len(part.lstrip("0")), part.lstrip("0")) if index % 2 else part for index, part in enumerate(parts)]
    return _ORDER.get(label(name), len(_ORDER)), natural


def _csv(name: str, **how) -> pd.DataFrame:
    with resources.files(__name__).joinpath(f"{name}.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file, **how)
