"""Whether the words of a figure can be read: the boxes of its texts, as its renderer measures them."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox


def hidden_texts(figure: Figure) -> list[str]:
    """Say which texts of a figure overlap by more than a pixel, and which leave the figure."""
    boxes = _boxes(figure)
    texts = [text for text, _ in boxes]
    extents = np.array([[*box.min, *box.max] for _, box in boxes]).reshape(-1, 2, 2)
    low, high = extents[:, 0], extents[:, 1]
    shared = np.minimum(high[:, np.newaxis], high) - np.maximum(low[:, np.newaxis], low)
    pairs = np.argwhere(np.triu((shared > 1).all(-1), 1))
    room = figure.bbox.padded(1)
    outside = np.flatnonzero(((low < room.min) | (high > room.max)).any(-1))
    overlapping = [f"{texts[first]!r} and {texts[second]!r} overlap" for first, second in pairs]
    return overlapping + [f"{texts[place]!r} leaves" for place in outside]


def ink(figure: Figure) -> np.ndarray:
    """Return the pixels of a figure, (height, width, 3)."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def _boxes(figure: Figure) -> list[tuple[str, Bbox]]:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    ticks = [
        (axis, tick)
        for axes in figure.findobj(Axes)
        for axis in (axes.xaxis, axes.yaxis)
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks())
    ]
    beyond_the_ends = {
        id(label)
        for axis, tick in ticks
        for label in (tick.label1, tick.label2)
        if not min(axis.get_view_interval()) <= tick.get_loc() <= max(axis.get_view_interval())
    }
    texts = [text for text in figure.findobj(Text) if text.get_visible() and id(text) not in beyond_the_ends]
    return [
        (text.get_text().strip(), _without_blank_lines(text.get_text(), text.get_window_extent(canvas.get_renderer())))
        for text in texts
        if text.get_text().strip()
    ]


def _without_blank_lines(text: str, box: Bbox) -> Bbox:
    """Leave out blank lines at the end, which make room for something else."""
    share = len(text.rstrip("\n").split("\n")) / len(text.split("\n"))
    return Bbox([[box.x0, box.y1 - share * box.height], [box.x1, box.y1]])
