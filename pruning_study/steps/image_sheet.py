"""Sheets of images: figures with small pictures at exact pixels, and text beside them."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

DPI = 120
POINTS = 72 / DPI  # points per pixel


class ImageSheet:
    """A figure on which positions are given in pixels from the upper left corner.

    Parameters
    ----------
    width, height : int
        In pixels.
    """

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.figure = Figure((width / DPI, height / DPI), dpi=DPI)

    def write(self, text: str, left: float, top: float, **style: Any) -> None:
        """Write text; by default, the position is its upper left corner."""
        self.figure.text(left / self.width, 1 - top / self.height, text, **{"va": "top", **style})

    def show(self, image: np.ndarray, left: int, top: int, side: int) -> None:
        """Draw an image, uint8 [C, H, W], in a square, centred at its lower edge."""
        picture = tile(image, side)
        self.figure.figimage(picture, left + (side - picture.shape[1]) // 2, self.height - top - side)

    def fill(self, left: float, top: float, width: float, height: float, color: str) -> None:
        """Draw a rectangle without a border."""
        corner = left / self.width, 1 - (top + height) / self.height
        sides = width / self.width, height / self.height
        self.figure.add_artist(Rectangle(corner, *sides, transform=self.figure.transFigure, color=color, linewidth=0))


def tile(image: np.ndarray, side: int) -> np.ndarray:
    """Return an image as RGB pixels, uint8 [H, W, 3], scaled to fit into a square.

    A small image is enlarged by a whole factor, so that its pixels stay square. If there are more than three channels,
    the first three are shown; if there are two, their mean.

    Parameters
    ----------
    image : uint8 [C, H, W]
    side : int
        Side of the square, in pixels.
    """
    colors = np.asarray(image[:3] if len(image) >= 3 else np.repeat(image.mean(0, keepdims=True), 3, axis=0))
    pixels = np.ascontiguousarray(colors.transpose(1, 2, 0).astype(np.uint8))
    height, width = pixels.shape[:2]
    if (times := side // max(height, width)) >= 1:
        return pixels.repeat(times, axis=0).repeat(times, axis=1)
    scale = side / max(height, width)
    size = max(1, round(scale * width)), max(1, round(scale * height))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))
