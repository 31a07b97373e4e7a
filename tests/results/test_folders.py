"""How the folder of results stores pictures."""

import folders
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from analysis.rendering import figure_files


def test_a_picture_keeps_its_look_and_its_maker_with_256_colours(tmp_path):
    figure = Figure()
    figure.subplots().scatter(np.arange(400) % 20, np.arange(400) // 20, c=np.arange(400), alpha=0.5)
    (tmp_path / "figures").mkdir()
    figure_files.write({"dots": figure}, tmp_path / "figures", [figure_files.PNG], processes=1)
    path = tmp_path / "figures" / "dots.png"
    before = np.asarray(Image.open(path).convert("RGB")).astype(int)
    size, info = path.stat().st_size, Image.open(path).info
    assert len(np.unique(before.reshape(-1, 3), axis=0)) > 400

    folders.limit_colors(tmp_path)
    picture = Image.open(path)
    after = np.asarray(picture.convert("RGB")).astype(int)
    assert len(np.unique(after.reshape(-1, 3), axis=0)) <= 256
    assert (after[before.min(2) == 255] == 255).all()  # white stays white
    assert np.abs(after - before).mean() < 1
    assert path.stat().st_size < size / 2
    assert picture.info["Software"] == info["Software"]
    assert picture.info["dpi"] == info["dpi"]

    content = path.read_bytes()
    folders.limit_colors(tmp_path)
    assert path.read_bytes() == content
