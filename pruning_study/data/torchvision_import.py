"""Import torchvision beside a CPU-only torch.

torchvision's wheels are built against a torch with CUDA. Beside another build their compiled operators do not load,
and `import torchvision` fails because the schemas of two operators are missing. The data sets need neither operator,
so this module defines the missing schemas and imports torchvision again.
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
