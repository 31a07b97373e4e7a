"""Format names of unknown origin for pictures."""

import textwrap
import warnings
from bisect import bisect_right
from collections.abc import Iterable
from functools import lru_cache

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from analysis.common.printable import printable

LONGEST_NAME = 60

# Fonts with Chinese, Japanese and Korean letters; systems differ in which of them are installed.
_EAST_ASIAN = (
    *(f"Noto Sans {kind}" for kind in ("CJK JP", "CJK SC", "CJK TC", "CJK KR", "JP", "SC", "TC", "KR")),
    *("Source Han Sans", "Source Han Sans SC", "Source Han Sans JP", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei"),
    *("IPAexGothic", "IPAGothic", "TakaoGothic", "VL Gothic", "Droid Sans Fallback", "NanumGothic"),
    *("Hiragino Sans", "Hiragino Sans GB", "PingFang SC", "PingFang HK", "Heiti TC", "Apple SD Gothic Neo"),
    *("Microsoft YaHei", "SimHei", "Yu Gothic", "MS Gothic", "Malgun Gothic", "Arial Unicode MS", "Unifont"),
)


def with_east_asian(families: Iterable[str], installed: Iterable[str]) -> list[str]:
    """Return families of fonts, followed by the installed ones that have Chinese, Japanese or Korean letters.

    Parameters
    ----------
    families : iterable of str
        Matplotlib takes each letter from the first family that has it.
    installed : iterable of str
    """
    families, installed_names = list(families), set(installed)
    return [*families, *(name for name in _EAST_ASIAN if name in installed_names and name not in families)]


mpl.rcParams["font.family"] = with_east_asian(
    mpl.rcParams["font.family"], (font.name for font in font_manager.fontManager.ttflist)
)
# A letter that no font has is drawn as a box; a line of warning for each such letter would help nobody.
warnings.filterwarnings("ignore", message="Glyph .* missing from font")


def name_in_picture(name: str, longest: int = LONGEST_NAME) -> str:
    """Return a name as pictures show it: a long one is cut, and control characters are written as escapes."""
    shown = printable(name[: longest + 1])
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"


def name_in_legend(name: str) -> str:
    """Return a name, after a space if it begins with an underscore: Matplotlib leaves such names out of legends."""
    return f" {name}" if name.startswith("_") else name


@lru_cache(4096)
def width_in_picture(text: str, size: float) -> float:
    """Return the width of a line of text in points.

    Parameters
    ----------
    text : str
    size : float
        Font size, in points.
    """
    width, *_ = text_to_path.get_text_width_height_descent(text, FontProperties(size=size), ismath=False)
    return float(width)


def fitted_name(name: str, width: float, size: float, *, lines: int = 1) -> str:
    """Return a name as pictures show it, broken into lines and cut so that it is not too wide.

    Parameters
    ----------
    name : str
    width, size : float
        Width of a line and size of the font, in points.
    lines : int
        Largest number of lines.
    """
    remainder = name_in_picture(name)
    name_lines: list[str] = []
    while remainder and len(name_lines) < lines - 1:
        count = _letters_that_fit(remainder, width, size)
        whole_words = textwrap.wrap(remainder, count, break_long_words=False) or [remainder]
        first = remainder if count == len(remainder) else whole_words[0][:count]
        name_lines.append(first)
        remainder = remainder[len(first) :].lstrip()
    if width_in_picture(remainder, size) > width:
        remainder = remainder[: _letters_that_fit(remainder, width - width_in_picture("…", size), size)].rstrip() + "…"
    return "\n".join([*name_lines, remainder] if remainder else name_lines)


def _letters_that_fit(text: str, width: float, size: float) -> int:
    """Return the number of leading letters that fit, at least 1."""
    fitting = bisect_right(range(1, len(text) + 1), width, key=lambda end: width_in_picture(text[:end], size))
    return max(fitting, 1)
