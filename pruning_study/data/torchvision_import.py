"""Import torchvision with a CPU-only torch.

torchvision's wheels are built for a torch with CUDA. With another build of torch, their compiled operators do not load,
and `import torchvision` fails because the schemas of two operators are missing. The data sets need neither operator, so
this module defines the missing schemas and imports torchvision again.
"""

from importlib.metadata import requires, version

import torch
from packaging.requirements import Requirement

from analysis.common.errors import StudyError

SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


def _check_pair(error: Exception) -> None:
    """Raise a StudyError if the installed torchvision was built for another version of torch."""
    installed = torch.__version__.partition("+")[0]
    for needed in map(Requirement, requires("torchvision") or ()):
        if needed.name == "torch" and not needed.specifier.contains(installed, prereleases=True):
            raise StudyError(
                f"torchvision {version('torchvision')} needs {needed}, and torch {torch.__version__} is installed: "
                f"pip install '{needed}', or the torchvision for torch {installed}"
            ) from error


try:
    import torchvision
except (AttributeError, ImportError, RuntimeError) as error:
    if isinstance(error, ModuleNotFoundError) and error.name == "torchvision":
        raise
    _check_pair(error)
    _library = torch.library.Library("torchvision", "FRAGMENT")
    for _name, _schema in SCHEMAS.items():
        _library.define(_schema)
    import torchvision

__all__ = ["torchvision"]
