"""The questions of the human study of Hooker et al. (Appendix C), and its results (Section 3.2)."""

from typing import NamedTuple


class Question(NamedTuple):
    """A question about an image, with the answers 0 (no) and 1 (yes).

    Attributes
    ----------
    column : str
        Column of the labelling sheet.
    text : str
    attribute : str
        Attribute that is counted, in the words of the paper.
    counted : {0, 1}
        The answer that counts as having the attribute.
    non_pies, pies : float
        Published shares of ImageNet's non-PIEs and PIEs that have the attribute; NaN if the paper gives none.
    """

    column: str
    text: str
    attribute: str
    counted: int
    non_pies: float
    pies: float


QUESTIONS = (
    Question(
        "label_correct",
        "Does label 1 accurately label an object in the image?",
        "label incorrect or inadequate",
        0,
        0.0890,
        0.2005,
    ),
    Question("single_object", "Does this image depict a single object?", "multiple objects", 0, 0.3953, 0.5915),
    Question(
        "fine_grained",
        "Would you consider labels 1, 2 and 3 to be semantically very close to each other? (Does this image require "
        "fine grained classification?)",
        "fine grained classification",
        1,
        0.089,
        0.4355,
    ),
    Question(
        "typical",
        "Do you consider the object in the image to be a typical exemplar for the class indicated by label 1?",
        "not typical of its class",
        0,
        float("nan"),
        float("nan"),
    ),
    Question(
        "corrupted",
        "Is the image quality corrupted (some common image corruptions: overlaid text, brightness, contrast, filter, "
        "defocus blur, fog, jpeg compression, pixelate, shot noise, zoom blur, black and white vs. rgb)?",
        "corrupted image",
        1,
        0.1437,
        0.1372,
    ),
    Question(
        "abstract",
        "Is the object in the image an abstract representation of the class indicated by label 1 (an object in an "
        "abstract form, such as a painting, drawing or rendering using a different material)?",
        "abstract representation",
        1,
        0.0343,
        0.0576,
    ),
)
ITEM, LABELS = "item", ("label_1", "label_2", "label_3")
# Columns of the key of a labelling sheet that the sheet itself does not have
INDEX, PIE = "index", "pie"
