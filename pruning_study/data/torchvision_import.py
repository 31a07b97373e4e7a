"""Imports torchvision beside a CPU-only torch.

torchvision's wheels are built against a torch with CUDA. Beside another build their compiled operators do not
load, and `import torchvision` then fails on two operators whose schemas it wants to register itself for. The
data sets need neither of them, so the schemas are defined here first where they are missing.
"""

import torch

SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}

try:
    import torchvision
except RuntimeError:
    _library = torch.library.Library("torchvision", "FRAGMENT")
    for _name, _schema in SCHEMAS.items():
        _library.define(_schema)
    import torchvision

__all__ = ["torchvision"]
