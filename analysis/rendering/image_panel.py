"""Panels of images: small pictures whose pixels are not blurred, and words and bars at places given in pixels."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.transforms import Affine2D, BboxTransformTo, ScaledTranslation
from PIL import Image

from analysis.rendering.layout import DPI

POINTS = 72 / DPI  # points per pixel
_MARGIN = 6  # pixels left free on the left, so that the panel begins where the title of the page begins
_SHORTER = 0.01  # pixels taken off the sides of an image, because Matplotlib before 3.11 rounds 84.0001 up to 85


class ImagePanel:
    """A panel without axes; places on it are in pixels from a left margin and from the upper edge."""

    def __init__(self, axes: Axes) -> None:
        axes.set_axis_off()
        figure = axes.figure.figure  # the whole figure, even for a subfigure
        corner = figure.dpi_scale_trans + ScaledTranslation(0, 1, BboxTransformTo(axes.bbox))
        self._axes, self._place = axes, Affine2D().translate(_MARGIN, 0).scale(1 / DPI, -1 / DPI) + corner

    def write(self, text: str, left: float, top: float, **style: Any) -> None:
        """Write text whose upper left corner is at the place, unless `style` aligns it otherwise."""
        self._axes.text(left, top, text, **{"va": "top", "parse_math": False, "transform": self._place, **style})

    def show(self, image: np.ndarray, left: int, top: int, side: int) -> None:
        """Draw an image, uint8 [C, H, W], in a square, standing on the middle of the square's lower edge.

        A small image is enlarged by a whole factor, so that its pixels stay square.
        """
        pixels, longest = in_colors(image), max(image.shape[1:])
        scale = side // longest or side / longest
        height, width = (max(1, round(scale * length)) for length in pixels.shape[:2])
        if longest > side:
            pixels = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BOX))
        left, lower = left + (side - width) // 2, top + side
        extent = (left, left + width - _SHORTER, lower, lower - height + _SHORTER)
        look: dict[str, Any] = {"interpolation": "nearest", "aspect": "auto", "clip_on": False}
        self._axes.imshow(pixels, extent=extent, transform=self._place, **look)

    def fill(self, left: float, top: float, width: float, height: float, color: str) -> None:
        """Draw a rectangle without a border."""
        look: dict[str, Any] = {"color": color, "linewidth": 0, "transform": self._place}
        self._axes.add_artist(Rectangle((left, top), width, height, **look))


def in_colors(image: np.ndarray) -> np.ndarray:
    """Return an image, uint8 [C, H, W], as RGB pixels, uint8 [H, W, 3].

    If there are more than three channels, the first three are shown; if there are two, their mean.
    """
    colors = image[:3] if len(image) >= 3 else np.repeat(image.mean(0, keepdims=True), 3, axis=0)
    return colors.transpose(1, 2, 0).astype(np.uint8)
