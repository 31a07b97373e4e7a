"""Predict classes from logits: the class with the largest logit, or the first such class in a tie.

In integer networks, the largest logits tie for a few percent of the images. `topk` orders ties arbitrarily, while users
of an exported file call `argmax`, which returns the first of the tied classes.
"""

from torch import Tensor


def predicted_classes(logits: Tensor) -> Tensor:
    """Return the predicted class of each image, int64 [N].

    Parameters
    ----------
    logits : Tensor [N, classes]

    Examples
    --------
    >>> from torch import tensor
    >>> predicted_classes(tensor([[1.0, 2.0, 2.0]])).tolist()
    [1]
    """
    return logits.argmax(1)


def most_probable(logits: Tensor, count: int) -> Tensor:
    """Return the `count` most probable classes of each image, int64 [N, min(count, classes)], in descending order.

    Parameters
    ----------
    logits : Tensor [N, classes]
    count : int

    Examples
    --------
    >>> from torch import tensor
    >>> most_probable(tensor([[1.0, 2.0, 2.0, 1.0]]), 3).tolist()
    [[1, 2, 0]]
    """
    # One more than requested, because the last class may tie with the next.
    largest, classes = logits.topk(min(count + 1, logits.shape[1]), dim=1)
    is_ordered = (largest[:, :-1] > largest[:, 1:]).all(1)  # neither ties nor NaN
    ordered = logits[~is_ordered].sort(dim=1, descending=True, stable=True).indices  # 50 times slower than topk
    classes[~is_ordered] = ordered[:, : classes.shape[1]]
    return classes[:, :count]
