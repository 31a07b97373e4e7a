"""Names of unknown origin, made fit for pictures."""

import warnings
from collections.abc import Iterable

import matplotlib as mpl
from matplotlib import font_manager

from analysis.runs.printable import printable

LONGEST_NAME = 60

# Fonts with Chinese, Japanese and Korean letters, of which a system has one or another.
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
        Matplotlib takes each letter from the first of them that has it.
    installed : iterable of str
    """
    families, known = list(families), set(installed)
    return [*families, *(name for name in _EAST_ASIAN if name in known and name not in families)]


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
    """Return a name with a space before an underscore, at which matplotlib would leave it out of the legend."""
    return f" {name}" if name.startswith("_") else name
