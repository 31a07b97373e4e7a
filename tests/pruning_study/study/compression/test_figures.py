"""The picture of what a compressed network costs each class."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb

from pruning_study.study.compression import figures


def test_marks_of_a_class_that_loses_nothing_are_all_seen():
    recalls = {f"recall_{side}": [0.9, 0.8] for side in ("before", "after")}
    figure = figures.classes(pd.DataFrame({"class": ["hat", "bag"]} | recalls), "hats", 1)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    (axes,) = figure.axes
    low, high = np.round(axes.transData.transform([(89.9, 0.4), (90.1, -0.4)])).astype(int)
    pixels = np.asarray(canvas.buffer_rgba())[::-1, :, :3][low[1] : high[1], low[0] - 9 : high[0] + 9] / 255
    for color in ("black", "#0072b2"):
        assert (np.abs(pixels - to_rgb(color)).max(-1) < 0.02).sum() >= 5, color


@pytest.mark.parametrize(("networks", "said"), [(1, "test images."), (2, "test images, mean over 2 networks.")])
def test_recalls_of_several_networks_are_said_to_be_means(networks, said):
    recalls = {f"recall_{side}": [0.9, 0.8] for side in ("before", "after")}
    figure = figures.classes(pd.DataFrame({"class": ["hat", "bag"]} | recalls), "hats", networks)
    assert any(f"Recall on {said}" in " ".join(text.get_text().split()) for text in figure.texts)
